"""Tests of what a cluster, and features in files, refuse before anything is read or connected to."""

import pytest

from spotify_ml.config.combinations import refuse_unsupported
from spotify_ml.utils.errors import ConfigError
from tests.support import configured


@pytest.mark.parametrize(
    "override",
    [
        "model=lightgbm",
        "model=blend",
        "model.tree_method=exact",
        "model.device=cuda:0",
        "tune=optuna",
        "cv=3",
        "baselines=full",
        "outputs.data=true",
    ],
)
def test_what_a_cluster_cannot_do_is_refused_by_its_key(override: str):
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"engine=dask with {key}=.*\nor use engine=local"):
        refuse_unsupported(configured("engine=dask", override))
    refuse_unsupported(configured(override))


@pytest.mark.parametrize("kind", ["disk", "external"])
@pytest.mark.parametrize(
    "override", ["model=lightgbm", "model.device=cuda", "cv=3", "outputs.data=true", "engine=dask"]
)
def test_what_features_in_files_cannot_do_is_refused_by_its_key(kind: str, override: str):
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"matrices={kind} with {key}=.*\nor use matrices=memory"):
        refuse_unsupported(configured(f"matrices={kind}", override))
    refuse_unsupported(configured("matrices=memory", override))
    refuse_unsupported(configured(override))


def test_everything_is_refused_at_once():
    with pytest.raises(ConfigError) as raised:
        refuse_unsupported(configured("engine=dask", "cv=3", "engine.address=tcp://127.0.0.1:1", "engine.n_workers=2"))
    assert "cv=3" in str(raised.value)
    assert "engine.n_workers" in str(raised.value)


@pytest.mark.parametrize(
    "override", ["task=classification", "model=xgboost_reference", "features=audio", "cleaning=rows"]
)
def test_the_rest_may_be_asked_for(override: str):
    refuse_unsupported(configured("engine=dask", override))


def test_only_a_result_of_several_workers_has_another_hash():
    assert configured("engine=dask").digest() != configured().digest()
    assert configured("engine=dask", "engine.n_workers=3").digest() == configured("engine=dask").digest()
    assert configured("engine=dask").digest("seed", "data") == configured().digest("seed", "data")
