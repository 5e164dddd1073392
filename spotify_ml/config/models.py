"""The schema of ``conf/model`` and ``conf/task``."""

from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, TypeAdapter

from spotify_ml.config.section import RegisteredModelName, Section
from spotify_ml.utils.paths import CONF


class XGBoostConfig(Section):
    """The parameters of ``xgboost.XGBRegressor`` and ``XGBClassifier``, with their names and ranges."""

    name: Literal["xgboost", "xgboost_reference"]
    n_estimators: int = Field(ge=1)
    early_stopping_rounds: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    probe_rate: float | None = Field(gt=0, le=1)
    max_depth: int = Field(ge=0)
    max_leaves: int = Field(ge=0)
    grow_policy: Literal["depthwise", "lossguide"]
    min_child_weight: float = Field(ge=0)
    gamma: float = Field(ge=0)
    subsample: float = Field(gt=0, le=1)
    colsample_bytree: float = Field(gt=0, le=1)
    colsample_bylevel: float = Field(gt=0, le=1)
    colsample_bynode: float = Field(gt=0, le=1)
    reg_alpha: float = Field(ge=0)
    reg_lambda: float = Field(ge=0)
    max_delta_step: float = Field(ge=0)
    max_bin: int = Field(ge=2)
    tree_method: Literal["auto", "hist", "approx", "exact"]
    device: str = Field(pattern=r"^(cpu|cuda(:\d+)?|gpu(:\d+)?)$")
    n_jobs: int | None = Field(ge=1)

    def probe(self) -> Self:
        """Return the parameters of the fit that chooses the number of trees: faster, and with as many fewer trees."""
        rate = max(self.probe_rate or 0, self.learning_rate)
        most = max(1, round(self.n_estimators * self.learning_rate / rate))
        return self.model_copy(update={"learning_rate": rate, "probe_rate": None, "n_estimators": most})

    def trees_of_refit(self, n_trees: int) -> int:
        """Return how many trees are worth as much as `n_trees` of the probe."""
        return min(self.n_estimators, round(n_trees * self.probe().learning_rate / self.learning_rate))


class LinearConfig(Section):
    """Ridge regression, or logistic regression with the same penalty, on imputed and scaled features."""

    name: Literal["linear"]
    alpha: float = Field(gt=0)


class ForestConfig(Section):
    """The parameters of scikit-learn's random forests and extremely randomised trees."""

    name: Literal["random_forest", "extra_trees"]
    n_estimators: int = Field(ge=1)
    max_depth: int | None = Field(ge=1)
    min_samples_leaf: int = Field(ge=1)
    max_features: float = Field(gt=0, le=1)
    n_jobs: int | None = Field(ge=1)


class HistGradientBoostingConfig(Section):
    """The parameters of scikit-learn's histogram gradient boosting."""

    name: Literal["hist_gradient_boosting"]
    max_iter: int = Field(ge=1)
    n_iter_no_change: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    max_leaf_nodes: int = Field(ge=2)
    min_samples_leaf: int = Field(ge=1)
    l2_regularization: float = Field(ge=0)
    max_features: float = Field(gt=0, le=1)
    max_bins: int = Field(ge=2, le=255)


class LightGBMConfig(Section):
    """The parameters of ``lightgbm.LGBMRegressor`` and ``LGBMClassifier``."""

    name: Literal["lightgbm"]
    n_estimators: int = Field(ge=1)
    early_stopping_round: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    num_leaves: int = Field(ge=2)
    min_child_samples: int = Field(ge=1)
    subsample: float = Field(gt=0, le=1)
    subsample_freq: int = Field(ge=0)
    colsample_bytree: float = Field(gt=0, le=1)
    reg_alpha: float = Field(ge=0)
    reg_lambda: float = Field(ge=0)
    max_bin: int = Field(ge=2)
    n_jobs: int | None = Field(ge=1)


class CatBoostConfig(Section):
    """The parameters of ``catboost.CatBoostRegressor`` and ``CatBoostClassifier``."""

    name: Literal["catboost"]
    iterations: int = Field(ge=1)
    early_stopping_rounds: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    depth: int = Field(ge=1, le=16)
    l2_leaf_reg: float = Field(ge=0)
    rsm: float = Field(gt=0, le=1)
    thread_count: Literal[-1] | Annotated[int, Field(ge=1)]


class TwoPartConfig(Section):
    """Whether a track is near-zero, and its popularity if not."""

    name: Literal["two_part"]
    dead: XGBoostConfig
    alive: XGBoostConfig


SingleConfig = Annotated[
    XGBoostConfig | LinearConfig | ForestConfig | HistGradientBoostingConfig | LightGBMConfig | CatBoostConfig,
    Field(discriminator="name"),
]


class EnsembleConfig(Section):
    """The average of several estimators: plain (blend), or weighted by their out-of-fold errors (stack)."""

    name: Literal["blend", "stack"]
    members: dict[str, SingleConfig] = Field(min_length=2)
    folds: int = Field(ge=2)


ModelConfig = Annotated[SingleConfig | TwoPartConfig | EnsembleConfig, Field(discriminator="name")]


class RegressionConfig(Section):
    """Predict popularity itself."""

    name: Literal["regression"]
    weights: Literal["none", "balanced"]
    registered_model: RegisteredModelName


class ClassificationConfig(Section):
    """Predict the probabilities of classes of popularity."""

    name: Literal["classification"]
    label: Literal["category", "popular"]
    threshold: float = Field(gt=0, le=100)
    weights: Literal["none", "balanced"]
    registered_model: RegisteredModelName


TaskConfig = Annotated[RegressionConfig | ClassificationConfig, Field(discriminator="name")]


def model_config(name: str) -> SingleConfig:
    """Return a choice of the group ``model`` as in ``conf/``; it may be based on one other choice."""

    def read(choice: str) -> dict[str, Any]:
        own: dict[str, Any] = yaml.safe_load((CONF / "model" / f"{choice}.yaml").read_text(encoding="utf-8"))
        for base in own.pop("defaults", []):
            own = read(base) | own
        return own

    return TypeAdapter[SingleConfig](SingleConfig).validate_python(read(name))
