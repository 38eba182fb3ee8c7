"""Where a log can come from: one file a kind."""
