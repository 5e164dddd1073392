"""The registered model, as MLflow runs it: this file is the model's code and is copied into every version."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class PopularityPyfunc(PythonModel):
    """Raw rows in, popularity out: `PopularityModel` behind MLflow's interface."""

    # MLflow recognises both methods by the names of their arguments.
    def load_context(self, context: Any) -> None:
        """Load the model from the artifacts of the version."""
        from spotify_ml.models.popularity import PopularityModel

        self.model = PopularityModel.load(Path(context.artifacts["features"]), Path(context.artifacts["booster"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """Predict the popularity of raw rows, 0 to 100."""
        return self.model.predict(model_input)


set_model(PopularityPyfunc())
