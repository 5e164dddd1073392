"""Runs and versions beside each other, on the tracks that they share."""
