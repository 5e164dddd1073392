"""Families of estimators, one per library; a new one needs a configuration in `spotify_ml.config.models` as well."""

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
