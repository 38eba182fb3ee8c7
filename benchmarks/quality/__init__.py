"""What the quality benchmarks share: runs, boosted trees, intervals, tables."""
