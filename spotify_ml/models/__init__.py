"""Estimators, how they are fitted, and the model that scores raw rows."""
