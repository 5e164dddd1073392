"""Raw tracks: their schema, where they come from, cleaning, quality and splits."""
