"""The field's reasons for sharing, one study a file."""
