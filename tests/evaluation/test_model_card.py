"""Tests of the model card: it says what the run knows, for every choice of the configuration."""

import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from spotify_ml.config.run import CleaningConfig, FeatureSet, RunConfig, SplitConfig
from spotify_ml.evaluation.bootstrap import bootstrap_metrics
from spotify_ml.evaluation.result import Result
from spotify_ml.reports.model_card import FILES, Origin, model_card, write_model_card
from tests.evaluation.conftest import ResultOf
from tests.support import configured

ORIGIN = Origin(
    "xgboost-recording-1a2b",
    "models:/m-1",
    ["+split=recording", "data.path=/home/me/x.csv"],
    "c0ffee",
    True,
    {"numpy": "2.4"},
)
FAST = ["features=reference", "model.n_estimators=20", "model.learning_rate=0.3", "model.n_jobs=1"]


@cache
def configuration(*overrides: str) -> RunConfig:
    return configured(*FAST, *overrides)


@pytest.fixture(scope="module")
def regression(result_of: ResultOf) -> Result:
    return result_of("features=reference")[1]


def section(card: str, heading: str) -> str:
    return card.split(f"## {heading}\n")[1].split("\n## ")[0]


def test_figures_are_those_of_the_run_with_intervals_of_whole_groups(regression: Result):
    config = configuration()
    figures = section(model_card(config, regression, ORIGIN), "Figures")
    evaluation, split = regression.evaluation, regression.split
    intervals = bootstrap_metrics(
        config.task, evaluation.actual, evaluation.predicted, split.groups[split.test], seed=config.seed
    )
    cells = [
        f"**{evaluation.metrics[f'test/{name}']:.3f}** ({intervals[name].lower:.3f} to {intervals[name].upper:.3f})"
        for name in ("r2", "rmse", "mae")
    ]
    assert f"| **test** | {' | '.join(cells)} |" in figures
    for part in ("train", "val", "baseline_mean", "baseline_genre"):
        values = [f"{evaluation.metrics[f'{part}/{name}']:.3f}" for name in ("r2", "rmse", "mae")]
        assert f"| {' | '.join(values)} |" in figures


def test_the_ends_of_the_intervals_are_metrics(regression: Result):
    metrics = regression.metrics()
    for name in ("r2", "rmse", "mae"):
        assert metrics[f"test/{name}_lower"] < metrics[f"test/{name}"] < metrics[f"test/{name}_upper"]


def test_card_says_what_the_run_knows_and_no_folder_of_this_machine(regression: Result):
    card = model_card(configuration(), regression, ORIGIN)
    assert regression.raw.sha256 in card
    assert "ODbL" in section(card, "Data")
    assert f"{len(regression.split.test):,} test rows" in section(card, "Split")
    assert f"chose {regression.fitted.n_trees} trees" in section(card, "Training")
    assert "`learning_rate=0.3`" in section(card, "Training")
    assert 'load_model("models:/m-1")' in section(card, "Load")
    assert "`+split=recording`" in section(card, "Made with")
    assert "`c0ffee`, and changes since" in section(card, "Made with")
    assert "/home/me" not in card
    assert str(regression.raw.path.parent) not in card
    counts = re.findall(r"\| (?:popularity 0|above [^|]*) \| ([\d,]+) \|", section(card, "By popularity"))
    assert sum(int(count.replace(",", "")) for count in counts) == len(regression.split.test)


def test_intervals_are_shown_with_their_best_and_worst_genres(regression: Result):
    shown = section(model_card(configuration(), regression, ORIGIN), "Prediction intervals")
    covered = regression.coverage[regression.coverage["level"] == 0.9].set_index("genre")
    genres = covered.drop(index="all")["coverage"]
    assert f"| 90% | {covered['coverage']['all']:.1%} | {covered['width']['all']:.1f} | {genres.min():.0%} (" in shown
    assert f" to {genres.max():.0%} (" in shown


def test_every_choice_has_words_of_its_own(regression: Result):
    choices = {
        ("split", "Split"): get_args(SplitConfig.model_fields["name"].annotation),
        ("cleaning", "Data"): get_args(CleaningConfig.model_fields["name"].annotation),
        ("features", "Training"): get_args(FeatureSet),
    }
    for (group, heading), names in choices.items():
        cards = [model_card(configuration(f"{group}={name}"), regression, ORIGIN) for name in names]
        # Beside the choice's own name.
        words = {section(card, heading).replace(name, "") for card, name in zip(cards, names, strict=True)}
        summaries = {card.partition("## ")[0] for card in cards}
        assert len(summaries if group == "features" else words) == len(names)


def test_a_file_of_ones_own_is_given_no_licence(regression: Result):
    card = model_card(configuration("data=file", "data.path=mine.csv"), regression, ORIGIN)
    assert "ODbL" not in card
    assert "2022" not in card


def test_classes_are_named_and_have_no_bands(result_of: ResultOf):
    card = model_card(*result_of("features=reference", "task=classification"), ORIGIN)
    assert "(Low Popularity, Medium Popularity, High Popularity)" in card
    assert "## By popularity" not in card
    assert "## Prediction intervals" not in card
    assert re.search(r"\| \*\*test\*\* \| \*\*\d\.\d{3}\*\* \(\d\.\d{3} to \d\.\d{3}\) \|", card)
    assert "LOG LOSS" in section(card, "By genre")


def test_card_is_written_as_markdown_and_html_together(regression: Result, tmp_path: Path):
    card = model_card(configuration(), regression, ORIGIN)
    write_model_card(tmp_path / "model_card", card)
    assert {path.name for path in (tmp_path / "model_card").iterdir()} == set(FILES)
    assert (tmp_path / "model_card" / "model_card.md").read_text(encoding="utf-8") == card
    page = (tmp_path / "model_card" / "model_card.html").read_text(encoding="utf-8")
    assert page.count("<table>") == 4
    assert "<h1>xgboost-recording-1a2b</h1>" in page
