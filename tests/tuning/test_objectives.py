"""Tests of what a study may optimise."""

import pytest

from spotify_ml.config.tuning import OptunaConfig
from spotify_ml.tuning.objectives import Objective, read_objectives
from spotify_ml.utils.errors import ConfigError
from tests.support import configured


def objectives(*overrides: str) -> list[Objective]:
    config = configured("tune=optuna", *overrides)
    assert isinstance(config.tune, OptunaConfig)
    return read_objectives(config, config.tune)


def test_by_default_it_is_what_a_run_is_chosen_by():
    assert objectives() == [Objective("val/rmse", "minimize")]
    assert objectives("task=classification") == [Objective("val/log_loss", "minimize")]


def test_a_metric_is_taken_as_it_is_meant_or_as_is_said():
    assert objectives("tune.metrics=[val/r2]") == [Objective("val/r2", "maximize")]
    assert objectives("tune.metrics=[val/r2]", "tune.directions=[minimize]") == [Objective("val/r2", "minimize")]


def test_several_metrics_make_a_front():
    found = objectives("tune.metrics=[val/r2,model/bytes,time/predict_s]", "tune/pruner=none")
    assert [each.direction for each in found] == ["maximize", "minimize", "minimize"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["tune.metrics=[test/r2]"], "'test/r2' is a figure of the test rows"),
        (["tune.metrics=[test_zero/rmse]"], "'test_zero/rmse' is a figure of the test rows"),
        (["tune.metrics=[val/r3]"], r"no 'val/r3' \(did you mean 'val/r2'\?\)"),
        (["tune.metrics=[val/log_loss]"], "task=regression model=xgboost there is no 'val/log_loss'"),
        (["tune.metrics=[train/r2]"], "no 'train/r2'"),
        (
            ["task=classification", "tune.metrics=[val/rmse]"],
            "task=classification model=xgboost there is no 'val/rmse'",
        ),
        (["tune.metrics=[val/r2,val/r2]", "tune/pruner=none"], "twice"),
        (["model=linear", "tune.metrics=[model/trees]"], "model=linear there is no 'model/trees'"),
        (["tune.directions=[minimize,maximize]"], "2 and tune.metrics 1"),
        (["tune.metrics=[val/r2,model/trees]"], "tune/pruner=percentile judges by one metric; .* tune/pruner=none"),
        (["tune/pruner=wilcoxon"], "compares folds; add tune.folds"),
    ],
)
def test_what_cannot_be_optimised_is_one_clear_error(overrides: list[str], said: str):
    with pytest.raises(ConfigError, match=said):
        objectives(*overrides)
