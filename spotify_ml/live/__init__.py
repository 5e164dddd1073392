"""Live traffic: two versions side by side, what they predicted, what was observed later, and which one is better."""
