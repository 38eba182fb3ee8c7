"""Training: the loop, the optimizers, precision, checkpoints, several processes."""
