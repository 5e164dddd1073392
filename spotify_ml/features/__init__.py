"""scikit-learn transformers that turn tracks into a numeric matrix."""
