"""The audit: does sharing help or hurt each task, and why."""
