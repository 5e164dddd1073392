"""Studies: many fits of the training rows, the best of which is refitted and recorded."""
