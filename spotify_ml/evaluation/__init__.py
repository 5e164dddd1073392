"""What a fitted model is worth: metrics, baselines and figures."""
