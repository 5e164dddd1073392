"""Tests of the fit on made-up rows: what a library refuses is told before tracks are read."""

from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.neighbors import KNeighborsRegressor

from spotify_ml.config.models import LinearConfig
from spotify_ml.models import families
from spotify_ml.models.rehearsal import rehearse
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import ConfigError
from spotify_ml.utils.paths import CONF
from tests.support import configured

MODELS = sorted(path.stem for path in (CONF / "model").iterdir())
CLASSES = "task=classification"
TASKS = {"regression": [], "category": [CLASSES], "popular": [CLASSES, "task.label=popular"]}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_as_its_file_has_it_is_let_pass(model: str, task: str):
    config = configured(f"model={model}", *TASKS[task])
    rehearse(config.model, config.task, config.seed)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.tree_method=exact", "model.colsample_bynode=1", "model.max_depth=0"], "unlimited depth"),
        (["model=two_part", "model.alive.tree_method=exact", "model.alive.colsample_bynode=1"], "unlimited depth"),
        (["model=blend", "model.members.xgboost.tree_method=exact"], "by node is not yet supported"),
        (["model=lightgbm", "model.num_leaves=200000"], "num_leaves"),
    ],
)
def test_what_a_library_refuses_is_named(overrides: list[str], words: str):
    config = configured(*overrides)
    with pytest.raises(ConfigError, match=words):
        rehearse(config.model, config.task, config.seed)


def test_an_estimator_without_weights_is_named_before_a_run_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    family = replace(families.FAMILIES[LinearConfig], build=lambda config, task, seed: KNeighborsRegressor())
    monkeypatch.setitem(families.FAMILIES, LinearConfig, family)
    config = configured("model=linear", f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(ConfigError, match=r"model=linear: KNeighborsRegressor.fit takes no sample_weight"):
        train(config, tmp_path / "run", [])
    assert not (tmp_path / "mlflow.db").exists()
