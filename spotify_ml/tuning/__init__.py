"""Studies: many fits on the train rows, the best of which is refitted and recorded."""
