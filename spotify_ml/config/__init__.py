"""The settings of runs and of the other commands, and their checks."""
