"""The HTTP server: one pass, every objective, and weights that change without a restart."""
