"""Tests of the notebooks: as they stand in git, and executed on the sample into a store of their own."""

import ast
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from spotify_ml import configure, run
from spotify_ml.notebook import comparison, feature_table, latest_runs, split_table
from spotify_ml.utils.errors import ConfigError, TrackingError
from spotify_ml.utils.paths import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
# Calls, imports and what they give is all that a notebook is made of.
LOGIC = (
    ast.FunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.For,
    ast.While,
    ast.If,
    ast.IfExp,
    ast.BoolOp,
    ast.comprehension,
)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_those_that_the_specification_names():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_ETL_Validation",
        "02_Feature_Engineering",
        "03_ML_XGBoost_Model",
        "04_Compare_Runs",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_in_git_has_no_outputs_and_no_logic_of_its_own(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    assert notebook.cells[0].source.startswith(f"# {path.stem[1]}. ")
    assert [cell.metadata.get("tags") for cell in code_cells(notebook)].index(["parameters"]) == 0
    for cell in code_cells(notebook):
        assert (cell.outputs, cell.execution_count) == ([], None)
        assert set(cell.metadata) <= {"tags"}
        code = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        assert not [node for node in ast.walk(ast.parse(code)) if isinstance(node, LOGIC)]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What keeps a run of a notebook out of the user's store and folders, and small."""
    folder = tmp_path_factory.mktemp("notebooks")
    return [
        f"tracking.uri=sqlite:///{folder / 'mlflow.db'}",
        f"tracking.artifact_location={folder / 'artifacts'}",
        f"hydra.run.dir={folder}/runs/${{now:%H-%M-%S-%f}}",
        "cache=off",
        "model.n_jobs=1",
        "model.n_estimators=30",
    ]


def execute(name: str, places: list[str]) -> NotebookNode:
    path = PROJECT / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code_cells(notebook)[0].source += f"\nOVERRIDES += {places}"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    said = [output.text for cell in code_cells(notebook) for output in cell.outputs if output.get("name") == "stderr"]
    assert said == []
    return notebook


def outputs(notebook: NotebookNode, kind: str) -> list[str]:
    return [
        output.data[kind] for cell in code_cells(notebook) for output in cell.outputs if kind in output.get("data", {})
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_pictures", "n_tables"), [("01_ETL_Validation", 5, 3), ("02_Feature_Engineering", 1, 5)]
)
def test_a_notebook_runs_quietly_and_shows_tables_and_pictures(
    places: list[str], name: str, n_pictures: int, n_tables: int
):
    notebook = execute(name, places)
    assert len(outputs(notebook, "image/png")) == n_pictures
    assert len(outputs(notebook, "text/html")) == n_tables
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count("<img ") == n_pictures


@pytest.mark.slow
def test_the_last_notebook_compares_the_two_runs_that_the_third_trains(places: list[str]):
    trained = execute("03_ML_XGBoost_Model", places)
    card, reasons = outputs(trained, "text/markdown")[0], outputs(trained, "text/html")[-1]
    assert card.startswith("# xgboost-recording-")
    assert len(outputs(trained, "image/png")) >= 3
    assert reasons.count("<tr>") == 3
    (report,) = outputs(execute("04_Compare_Runs", places), "text/markdown")
    answer = report.splitlines()[2]
    assert re.search(r"A \(xgboost-recording-\w+\) is better than B \(audio-recording-\w+\) by 0\.\d+ R²", answer)
    assert answer.endswith("the difference is real.**")


def test_without_two_runs_it_says_what_to_do(places: list[str]):
    tracking = configure("tracking.uri=sqlite:///nowhere/mlflow.db").tracking
    assert latest_runs(tracking).empty
    assert "holds 0 of the two finished runs that it takes. Train with `make train`" in comparison(tracking, [])
    assert not Path("nowhere").exists()
    with pytest.raises(TrackingError, match="there is no tracking store"):
        comparison(tracking, ["3f2a", "9c81"])


def test_a_configuration_is_checked_as_on_the_command_line():
    assert configure("data=sample", "model.max_depth=3").model.max_depth == 3
    with pytest.raises(ConfigError, match=r"model\.max_depth=-1"):
        configure("model.max_depth=-1")
    with pytest.raises(ConfigError, match=r"python -m spotify_ml\.train tune=optuna"):
        run("tune=optuna")


def test_tables_say_how_new_test_rows_are_and_what_features_tell():
    from spotify_ml.data.etl import clean
    from spotify_ml.data.sources import read_tracks
    from spotify_ml.data.splits import split_tracks
    from spotify_ml.features.builder import build_subsets

    config = configure("features=audio")
    tracks = clean(read_tracks(config.data).frame, "tracks").frame
    splits = split_table(tracks, config)
    copies = splits["test rows with a copy among the fitted"]
    assert list(copies[["recording", "album", "artist"]]) == ["0%"] * 3
    assert copies["random"] not in ("0%", "100%")
    assert splits.loc["artist", "of a known artist"] == "0%"
    assert (splits[["train", "validation", "test"]].sum(axis=1) == len(tracks)).all()
    split = split_tracks(tracks, config.split, config.seed)
    table = feature_table(build_subsets("audio", tracks, split, 42).test)
    test = tracks.iloc[split.test]
    assert table.loc["loudness", "spearman"] == pytest.approx(
        test["loudness"].corr(test["popularity"], "spearman"), abs=1e-6
    )
    assert np.all(np.diff(table["spearman"].abs()) <= 0)
    assert set(table["family"]) == {"audio"}
