"""What every room may use: errors, files, signals, streams, times."""
