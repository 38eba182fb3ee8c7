"""The MMoE paper's synthetic experiment: two regressions whose relatedness is a dial."""
