"""Tests of what a study leaves behind: its table, its best trial as an experiment, and its pictures."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import optuna
import pandas as pd
import pytest
import yaml
from matplotlib import image
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from spotify_ml.config.run import RunConfig
from spotify_ml.tuning.objectives import Objective
from spotify_ml.tuning.outcome import METRICS, best_trial, experiment, trials_table, write_outcome, write_plots
from spotify_ml.tuning.space import Values, apply
from spotify_ml.utils.paths import CONF
from tests.support import configured

DEPTH, RATE = "model.max_depth", "model.learning_rate"
SPACE = {
    DEPTH: IntDistribution(1, 9),
    RATE: FloatDistribution(0.01, 0.3, log=True),
    "model.grow_policy": CategoricalDistribution(["depthwise", "lossguide"]),
    "model.max_leaves": IntDistribution(2, 64, log=True),
}
RMSE, R2, BYTES = (
    Objective("val/rmse", "minimize"),
    Objective("val/r2", "maximize"),
    Objective("model/bytes", "minimize"),
)
PLOTS = {"optimization_history", "param_importances", "slice", "parallel_coordinate"}


def trial(*values: float, params: dict[str, Any] | None = None, **given: Any) -> FrozenTrial:
    params = params or {DEPTH: 3, RATE: 0.1}
    state = given.pop("state", TrialState.COMPLETE)
    return create_trial(
        state=state,
        values=list(values) or None,
        params=params,
        distributions={name: SPACE[name] for name in params},
        user_attrs={METRICS: dict(zip(("val/rmse", "model/bytes"), values, strict=False))},
        **given,
    )


def study_of(objectives: list[Objective], *trials: FrozenTrial) -> Study:
    study = optuna.create_study(study_name="depths", directions=[each.direction for each in objectives])
    study.add_trials(trials)
    return study


def pruned(step: int = 3) -> FrozenTrial:
    values = {number: 20.0 + number for number in range(1, step + 1)}
    return trial(state=TrialState.PRUNED, intermediate_values=values, params={DEPTH: 8, RATE: 0.2})


FAILED = trial(state=TrialState.FAIL)


# --- the best trial


@pytest.mark.parametrize(
    ("objectives", "values", "expected"),
    [
        ([RMSE], [(3.0,), (1.0,), (2.0,)], 1),
        ([R2], [(3.0,), (1.0,), (2.0,)], 0),
        ([RMSE, BYTES], [(3.0, 10.0), (2.0, 20.0), (2.5, 30.0)], 1),
        ([R2, BYTES], [(0.3, 10.0), (0.2, 5.0), (0.1, 1.0)], 0),
        ([BYTES, R2], [(10.0, 0.3), (5.0, 0.2), (1.0, 0.1)], 2),
    ],
)
def test_the_best_is_the_first_metric_s(objectives: list[Objective], values: list[tuple[float, ...]], expected: int):
    study = study_of(objectives, *(trial(*each) for each in values), FAILED)
    assert best_trial(study, objectives).number == expected


def test_a_pruned_trial_is_never_the_best():
    study = study_of([RMSE], pruned(), trial(30.0), FAILED)
    assert best_trial(study, [RMSE]).number == 1
    none = study_of([RMSE], pruned(), FAILED)
    with pytest.raises(ValueError, match="empty"):
        best_trial(none, [RMSE])


# --- the table


def test_the_table_has_a_row_for_every_trial_and_a_column_for_every_key():
    study = study_of(
        [RMSE, BYTES],
        trial(2.0, 10.0, params={DEPTH: 5, "model.grow_policy": "lossguide", "model.max_leaves": 9}),
        trial(1.0, 20.0, params={DEPTH: 4, "model.grow_policy": "depthwise"}),
        FAILED,
    )
    study.ask()
    table = trials_table(study)
    assert table["trial"].tolist() == [0, 1, 2, 3]
    assert table["state"].tolist() == ["complete", "complete", "failed", "running"]
    assert table["seconds"].notna().tolist() == [True, True, True, False]
    assert table["val/rmse"].iloc[:2].tolist() == [2.0, 1.0]
    assert table["model/bytes"].iloc[:2].tolist() == [10.0, 20.0]
    assert table.loc[:1, [DEPTH, "model.grow_policy"]].to_numpy().tolist() == [[5, "lossguide"], [4, "depthwise"]]
    assert table["model.max_leaves"].isna().tolist() == [False, True, True, True]
    assert not table.columns.duplicated().any()


def test_a_pruned_trial_stands_in_the_table():
    table = trials_table(study_of([RMSE], trial(2.0), pruned()))
    assert table["state"].tolist() == ["complete", "pruned"]
    assert table[DEPTH].tolist() == [3, 8]


# --- the experiment


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of conf/ to add experiments to."""
    return Path(shutil.copytree(CONF, tmp_path_factory.mktemp("experiments") / "conf"))


def composed(conf: Path, config: RunConfig, values: Values, *overrides: str) -> RunConfig:
    text = experiment(apply(config, values), "found", "From a study.")
    (conf / "experiment" / "found.yaml").write_text(text, encoding="utf-8")
    return configured("experiment=found", *overrides, conf=conf)


def assert_same_run(found: RunConfig, expected: RunConfig) -> None:
    # What is recorded where, and under which name, is the caller's.
    other = {"name", "tune", "tracking"}
    assert found.model_dump(exclude=other) == expected.model_dump(exclude=other)


@pytest.mark.parametrize(
    ("overrides", "values"),
    [
        ([], {DEPTH: 5, RATE: 0.0123456789012345, "model.grow_policy": "lossguide", "model.max_leaves": 17}),
        (["model.n_jobs=1", "model.n_estimators=40"], {DEPTH: 5, "model.reg_alpha": 1e-12}),
        (["model=xgboost_reference", "model.n_jobs=1"], {DEPTH: 5}),
        (["model=linear"], {"model.alpha": 1e5}),
        (["model=lightgbm", "model.n_estimators=20"], {"model.num_leaves": 12}),
        ([], {"model.name": "lightgbm", "model.num_leaves": 12}),
        (["model.n_jobs=1"], {"model.name": "lightgbm", "model.n_estimators": 12}),
        (["model.n_jobs=1"], {"model.name": "xgboost", DEPTH: 4}),
        (["model=linear"], {"model.name": "xgboost", DEPTH: 4, "features.name": "reference"}),
        ([], {"features.name": "audio", DEPTH: 5}),
        ([], {"features.name": "full", "cleaning.name": "rows", "task.weights": "balanced"}),
        (["model=two_part"], {"model.dead.max_depth": 3, "model.alive.max_depth": 4}),
        (["model=stack"], {"features.name": "audio"}),
        (["features=audio"], {DEPTH: 5}),
        (["cleaning=rows"], {DEPTH: 5}),
        (["split=artist"], {DEPTH: 5}),
        (["split.val_size=0.2"], {DEPTH: 5}),
        (["seed=7"], {DEPTH: 5}),
        (["task=classification"], {DEPTH: 5}),
        (["task=classification", "task.label=popular"], {DEPTH: 5, "task.weights": "balanced"}),
        (["task.weights=balanced"], {DEPTH: 5}),
        (["model=two_part", "model.dead.n_estimators=5"], {"model.alive.max_depth": 4}),
    ],
)
def test_an_experiment_composes_to_the_run_it_was_made_from(conf: Path, overrides: list[str], values: Values):
    config = configured(*overrides)
    found = composed(conf, config, values)
    assert_same_run(found, apply(config, values))
    assert found.name == "found"


def test_an_experiment_can_be_overridden(conf: Path):
    found = composed(conf, configured(), {DEPTH: 5, RATE: 0.02}, f"{DEPTH}=6")
    assert found.flat()[DEPTH] == 6
    assert found.flat()[RATE] == 0.02


@pytest.mark.parametrize("name", ["1e5", "on", "2024-01-02", "null", "a.b+c-d"])
def test_any_name_of_a_study_is_a_name_there(name: str, conf: Path):
    values = {DEPTH: 5}
    text = experiment(apply(configured(), values), name, "From a study.")
    (conf / "experiment" / "found.yaml").write_text(text, encoding="utf-8")
    assert configured("experiment=found", conf=conf).name == name


def test_an_experiment_says_where_it_is_from():
    text = experiment(apply(configured(), {DEPTH: 5}), "found", "Trial 3 of 9.")
    assert text.splitlines()[:2] == ["# @package _global_", "# Trial 3 of 9."]
    assert yaml.safe_load(text)["model"]["max_depth"] == 5


# --- the pictures


@pytest.fixture(autouse=True)
def _style_stays_as_it_is() -> Iterator[None]:
    """Optuna sets matplotlib's style for the whole process."""
    with mpl.rc_context():
        yield


def drawn(folder: Path) -> set[str]:
    """Return the names of the plots that are there in both forms, each readable."""
    for path in folder.glob("*.png"):
        pixels = image.imread(path)
        assert min(pixels.shape[:2]) > 100
        assert pixels.std() > 0
    for path in folder.glob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert "Plotly.newPlot" in page
        # MLflow shows a page alone: what lies beside it, or elsewhere, it does not find.
        assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    pages, pictures = ({path.stem for path in folder.glob(f"*.{suffix}")} for suffix in ("html", "png"))
    return pages & pictures


def several(*objectives: Objective) -> list[FrozenTrial]:
    depths = [(depth, depth**2 / 10, 100.0 / depth) for depth in range(1, 6)]
    return [trial(*values[: len(objectives)], params={DEPTH: depth, RATE: 0.01 * depth}) for depth, *values in depths]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_plots_of_many_trials_are_all_there(tmp_path: Path):
    write_plots(tmp_path, study_of([RMSE], *several(RMSE), pruned(), pruned(1), FAILED), [RMSE])
    assert drawn(tmp_path) == PLOTS
    assert "val/rmse" in (tmp_path / "optimization_history.html").read_text(encoding="utf-8").replace("\\u002f", "/")
    assert not (tmp_path / "plotly.min.js").exists()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_picture_of_many_parameters_has_room_for_each(tmp_path: Path):
    names = [f"model.parameter_{number}" for number in range(11)]
    ranges = dict.fromkeys(names, IntDistribution(1, 9))
    trials = [
        create_trial(value=10 / depth, params=dict.fromkeys(names, depth), distributions=ranges)
        for depth in range(1, 6)
    ]
    study = optuna.create_study()
    study.add_trials(trials)
    write_plots(tmp_path, study, [RMSE])
    for name in ("slice", "parallel_coordinate"):
        assert image.imread(tmp_path / f"{name}.png").shape[1] > 120 * len(names)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_plots_of_two_metrics_show_the_front(tmp_path: Path):
    objectives = [RMSE, BYTES]
    write_plots(tmp_path, study_of(objectives, *several(*objectives), FAILED), objectives)
    # What mattered for the one is not what mattered for the other.
    assert drawn(tmp_path) == PLOTS - {"param_importances"} | {"pareto_front"}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "trials",
    [
        [trial(2.0)],
        [trial(2.0), pruned(), FAILED],
        [trial(2.0), trial(2.0)],
        [trial(2.0, params={DEPTH: 3}), trial(1.0, params={RATE: 0.2})],
    ],
    ids=["one", "one that was not pruned", "all equal", "nothing in common"],
)
def test_few_trials_make_the_plots_that_they_make(trials: list[FrozenTrial], tmp_path: Path):
    write_plots(tmp_path, study_of([RMSE], *trials), [RMSE])
    assert drawn(tmp_path) >= {"optimization_history"}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_outcome_is_a_folder_that_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    study, values = study_of([RMSE], trial(2.0)), {DEPTH: 3, RATE: 0.1}
    config = apply(configured(), values)
    write_outcome(tmp_path / "study", study, [RMSE], config, "From a study.")
    table = pd.read_csv(tmp_path / "study" / "trials.csv")
    assert table[["trial", "val/rmse", DEPTH]].to_numpy().tolist() == [[0, 2.0, 3]]
    assert (tmp_path / "study" / "depths.yaml").is_file()

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("spotify_ml.tuning.outcome.write_plots", fail)
    with pytest.raises(RuntimeError):
        write_outcome(tmp_path / "other", study, [RMSE], config, "From a study.")
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
