"""The registered model, as MLflow runs it: this file is the model's code and is copied into every version."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from spotify_ml.models.files import ModelFiles, load_model_files
from spotify_ml.models.integrity import SUMS_FILE, check_files
from spotify_ml.tracking.compat import let_servers_read_csv
from spotify_ml.utils.errors import SpotifyMLError


class PopularityPyfunc(PythonModel):
    """Raw rows in, predictions out: `PopularityModel` behind MLflow's interface."""

    # MLflow recognises both methods by the names of their arguments.
    def load_context(self, context: Any) -> None:
        """Load the model from the artifacts of the version, once its files are seen to be those that were saved."""
        paths = {name: Path(path) for name, path in context.artifacts.items()}
        folder = paths["metadata"].parents[1]
        # MLflow loads a model once while it saves it.
        if (folder / SUMS_FILE).is_file():
            check_files(folder)
        self.model = load_model_files(ModelFiles(**paths))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Predict the popularity of raw rows, 0 to 100, or the probability of each class.

        Every parameter in the signature is a keyword of `PopularityModel.predict`.
        """
        try:
            return self.model.predict(model_input, **(params or {}))
        except SpotifyMLError as error:
            # MLflow's server answers any other exception without its message.
            raise MlflowException.invalid_parameter_value(str(error)) from error


let_servers_read_csv()
set_model(PopularityPyfunc())
