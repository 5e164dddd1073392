"""Families of estimators, each a library's; one is added here and as a configuration of `spotify_ml.config.run`."""

from spotify_ml.config.models import (
    CatBoostConfig,
    ForestConfig,
    HistGradientBoostingConfig,
    LightGBMConfig,
    LinearConfig,
    XGBoostConfig,
)
from spotify_ml.models.families.base import Family
from spotify_ml.models.families.boosting import CATBOOST, LIGHTGBM
from spotify_ml.models.families.scikit import FOREST, HIST, LINEAR
from spotify_ml.models.families.xgboost import XGBOOST

FAMILIES: dict[type, Family] = {
    XGBoostConfig: XGBOOST,
    LinearConfig: LINEAR,
    ForestConfig: FOREST,
    HistGradientBoostingConfig: HIST,
    LightGBMConfig: LIGHTGBM,
    CatBoostConfig: CATBOOST,
}
