"""The registered model, as MLflow runs it: this file is the model's code and is copied into every version."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class PopularityPyfunc(PythonModel):
    """Raw rows in, predictions out: `PopularityModel` behind MLflow's interface."""

    # MLflow recognises both methods by the names of their arguments.
    def load_context(self, context: Any) -> None:
        """Load the model from the artifacts of the version."""
        from spotify_ml.models.popularity import PopularityModel

        metadata = json.loads(Path(context.artifacts["metadata"]).read_text(encoding="utf-8"))
        features, estimator = (Path(context.artifacts[name]) for name in ("features", "estimator"))
        self.model = PopularityModel.load(features, estimator, tuple(metadata["classes"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Predict the popularity of raw rows, 0 to 100, or the probability of each class."""
        return self.model.predict(model_input)


set_model(PopularityPyfunc())
