"""The MLflow record of a run: the only part of the package that imports mlflow."""
