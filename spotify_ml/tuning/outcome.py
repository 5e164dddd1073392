"""The results of a study: its trials as a table, the best one as an experiment file, and plots."""

import json
import logging
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from spotify_ml.config.check import validate
from spotify_ml.config.run import RunConfig
from spotify_ml.data.csv_text import write_csv
from spotify_ml.reports.summary import Summary
from spotify_ml.tuning.objectives import Objective
from spotify_ml.tuning.space import Values, set_dotted
from spotify_ml.tuning.study import VALUES
from spotify_ml.utils.files import staged
from spotify_ml.utils.paths import CONF

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

METRICS = "metrics"
_ABSENT = object()
_FEW_AXES = 3
_GROUPS = ("cleaning", "split", "features", "task", "model")
_PLOTS = ("optimization_history", "param_importances", "slice", "parallel_coordinate")
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


def best_trial(study: Study, objectives: list[Objective]) -> FrozenTrial:
    """Return the best trial; of a Pareto front, the one best in the first metric."""
    sign = 1 if objectives[0].direction == "minimize" else -1
    return min(study.best_trials, key=lambda trial: sign * trial.values[0])


def trials_table(study: Study) -> pd.DataFrame:
    """Return one row per trial: number, state, seconds, figures, and values under their dotted keys."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        seconds = None if trial.duration is None else trial.duration.total_seconds()
        first = {"trial": trial.number, "state": _STATES.get(trial.state, "waiting"), "seconds": seconds}
        rows.append({**first, **trial.user_attrs.get(METRICS, {})} | trial.params | trial.user_attrs.get(VALUES, {}))
    return pd.DataFrame(rows)


def experiment(config: RunConfig, name: str, comment: str) -> str:
    """Return an experiment file for ``conf/experiment/`` that composes to a run, whatever its data.

    `name` is the run's; `comment`, one line, says where the experiment comes from.
    """
    groups = {group: getattr(config, group).name for group in _GROUPS}
    settings: dict[str, Any] = {"defaults": [{f"override /{group}": choice} for group, choice in groups.items()]}
    settings["name"] = name
    usual = _usual(groups).flat()
    for key, value in config.flat().items():
        if key.split(".")[0] in (*_GROUPS, "seed") and value != usual.get(key, _ABSENT):
            set_dotted(settings, key, value)
    body = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    # Hydra could read an unquoted name as a number.
    body = body.replace(f"\nname: {name}\n", f"\nname: {json.dumps(name)}\n", 1)
    return f"# @package _global_\n# {comment}\n{body}"


def _usual(groups: dict[str, str]) -> RunConfig:
    """Compose a run with these choices and no overrides."""
    # Within a command, Hydra is initialised already.
    is_initialised = GlobalHydra.instance().is_initialized()
    with nullcontext() if is_initialised else initialize_config_dir(str(CONF), version_base="1.3"):
        return validate(compose("train", [f"{group}={choice}" for group, choice in groups.items()]))


def write_plots(folder: Path, study: Study, objectives: list[Objective]) -> None:
    """Draw Optuna's plots as HTML and PNG in an existing folder; those that fail for these trials are left out."""
    import matplotlib as mpl

    mpl.use("Agg")
    import optuna.visualization as html
    import optuna.visualization.matplotlib as png

    first = objectives[0].metric
    if len(objectives) == 1:
        targets: dict[str, dict[str, Any]] = {name: {"target_name": first} for name in _PLOTS}
    else:
        one = {"target": lambda trial: trial.values[0], "target_name": first}
        targets = {name: one for name in _PLOTS if name != "param_importances"}
        targets["pareto_front"] = {"target_names": [objective.metric for objective in objectives]}
    for name, target in targets.items():
        _draw(folder / name, study, getattr(html, f"plot_{name}"), getattr(png, f"plot_{name}"), target)


def _draw(
    path: Path, study: Study, plot_html: Callable[..., Any], plot_png: Callable[..., Any], target: dict[str, Any]
) -> None:
    from matplotlib import pyplot

    try:
        with warnings.catch_warnings():
            # Optuna warns about few trials, and matplotlib about an axis with one value.
            warnings.simplefilter("ignore", UserWarning)
            # With plotly's script: MLflow shows a page without the files next to it.
            plot_html(study, **target).write_html(path.with_suffix(".html"), include_plotlyjs=True)
            axes = plot_png(study, **target)
        figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
        _make_room(figure)
        figure.savefig(path.with_suffix(".png"), dpi=100, bbox_inches="tight")
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        log.warning("no plot of %s: %s", path.name, error)
    finally:
        pyplot.close("all")


def _make_room(figure: "Figure") -> None:
    """Widen a figure by its number of axes, and rotate labels that would overlap."""
    from matplotlib.ticker import NullFormatter

    figure.set_size_inches(max(10, 1.8 * len(figure.axes)), 6)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        if len(figure.axes) > _FEW_AXES:
            axes.grid(visible=False)
            axes.tick_params(axis="x", labelrotation=45)
            axes.set_xlabel(axes.get_xlabel().replace(".", ".\n"), fontsize="small")


def write_outcome(folder: Path, study: Study, objectives: list[Objective], config: RunConfig, comment: str) -> None:
    """Write ``trials.csv``, the best trial as an experiment, and plots; the folder appears when it is complete."""
    with staged(folder) as partial:
        partial.mkdir()
        write_csv(trials_table(study), partial / "trials.csv")
        text = experiment(config, study.study_name, comment)
        (partial / f"{study.study_name}.yaml").write_text(text, encoding="utf-8")
        write_plots(partial, study, objectives)


def silence_experimental_warnings() -> None:
    """Ignore Optuna's warnings about experimental features that this package uses."""
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


@dataclass(frozen=True)
class Outcome:
    """The results of a study for one worker: the best value of the first metric, trials by state, and best values.

    `summary` is that of the best trial's refit; None if another worker does it.
    """

    name: str
    objective: float
    counts: dict[str, int]
    values: Values
    summary: Summary | None

    def as_text(self) -> str:
        """Return the outcome as a short text."""
        counts = ", ".join(f"{number} {state}" for state, number in self.counts.items() if number)
        lines = ["", f"study    {self.name}: {counts}", "best     " + "  ".join(map(_shown, self.values.items()))]
        if self.summary is None:
            lines.append("run      the best has been refitted and recorded already, or another worker does it")
        return "\n".join(lines)


def _shown(item: tuple[str, object]) -> str:
    key, value = item
    return f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
