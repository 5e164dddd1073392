"""Transformers of tracks into features, each fitted on the rows it may see."""
