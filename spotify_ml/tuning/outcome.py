"""What a study leaves behind: its trials as a table, the best of them as an experiment to commit, and pictures."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from spotify_ml.config import EnsembleConfig, RunConfig, TwoPartConfig, model_config
from spotify_ml.files import staged
from spotify_ml.tuning.objectives import Objective
from spotify_ml.tuning.space import Values

log = logging.getLogger(__name__)

METRICS = "metrics"
_PLOTS = ("history", "importances", "slice", "parallel_coordinate")
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


def best_trial(study: Study, objectives: list[Objective]) -> FrozenTrial:
    """Return the best trial; of a Pareto front, the one best in the first metric.

    Raises
    ------
    ValueError
        If no trial was completed.
    """
    sign = 1 if objectives[0].direction == "minimize" else -1
    return min(study.best_trials, key=lambda trial: sign * trial.values[0])


def trials_table(study: Study) -> pd.DataFrame:
    """Return one row per trial: number, state, seconds, figures, and values under their dotted keys."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        seconds = None if trial.duration is None else trial.duration.total_seconds()
        first = {"trial": trial.number, "state": _STATES.get(trial.state, "waiting"), "seconds": seconds}
        rows.append({**first, **trial.user_attrs.get(METRICS, {}), **trial.params})
    return pd.DataFrame(rows)


def experiment(config: RunConfig, values: Values, name: str, comment: str) -> str:
    """Return the text of a file for ``conf/experiment/`` that composes to a configuration.

    Parameters
    ----------
    config : RunConfig
        The best run.
    values : dict
        What the study set in it.
    name : str
        Stands in the names of its runs.
    comment : str
        Where it comes from, a line.
    """
    chosen = {key.removesuffix(".name"): value for key, value in values.items() if key.endswith(".name")}
    groups = {"model": config.model.name, **chosen}
    settings: dict[str, Any] = {"defaults": [{f"override /{group}": choice} for group, choice in groups.items()]}
    settings["name"] = name
    for key, value in {**_own_settings(config), **values}.items():
        if not key.endswith(".name"):
            *sections, last = key.split(".")
            section = settings
            for part in sections:
                section = section.setdefault(part, {})
            section[last] = value
    body = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return f"# @package _global_\n# {comment}\n{body}"


def _own_settings(config: RunConfig) -> Values:
    """Return what else is different from the model's own file."""
    if isinstance(config.model, EnsembleConfig | TwoPartConfig):
        return {}
    usual = model_config(config.model.name).model_dump()
    return {f"model.{key}": value for key, value in config.model.model_dump().items() if value != usual[key]}


def write_plots(folder: Path, study: Study, objectives: list[Objective]) -> None:
    """Draw Optuna's plots as HTML and PNG; one that these trials do not make is left out.

    Parameters
    ----------
    folder : Path
        Must exist.
    study : Study
        With at least one completed trial.
    objectives : list of Objective
        What it optimises.
    """
    import matplotlib as mpl

    # No screen is needed.
    mpl.use("Agg")
    import optuna.visualization as html
    import optuna.visualization.matplotlib as png

    names = [*_PLOTS, *(["pareto_front"] if len(objectives) > 1 else [])]
    for name in names:
        function = {"history": "plot_optimization_history", "importances": "plot_param_importances"}.get(
            name, f"plot_{name}"
        )
        target: dict[str, Any] = {}
        if len(objectives) > 1 and name != "pareto_front":
            target = {"target": lambda trial: trial.values[0], "target_name": objectives[0].metric}
        elif name == "pareto_front":
            target = {"target_names": [objective.metric for objective in objectives]}
        else:
            target = {"target_name": objectives[0].metric}
        _draw(folder / name, study, getattr(html, function), getattr(png, function), target)


def _draw(
    path: Path, study: Study, plot_html: Callable[..., Any], plot_png: Callable[..., Any], target: dict[str, Any]
) -> None:
    from matplotlib import pyplot

    try:
        # One copy of plotly's script serves all files of the folder, without a network.
        plot_html(study, **target).write_html(path.with_suffix(".html"), include_plotlyjs="directory")
        axes = plot_png(study, **target)
        first = axes.flat[0] if hasattr(axes, "flat") else axes
        figure = first.figure
        figure.set_size_inches(10, 6)
        figure.savefig(path.with_suffix(".png"), dpi=100, bbox_inches="tight")
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        log.warning("no plot of %s: %s", path.name, error)
    finally:
        pyplot.close("all")


def write_outcome(
    folder: Path, study: Study, objectives: list[Objective], config: RunConfig, values: Values, comment: str
) -> None:
    """Write ``trials.csv``, the best trial as an experiment, and the plots, into a folder that is there when all is."""
    with staged(folder) as partial:
        partial.mkdir()
        trials_table(study).to_csv(partial / "trials.csv", index=False)
        text = experiment(config, values, study.study_name, comment)
        (partial / f"{study.study_name}.yaml").write_text(text, encoding="utf-8")
        write_plots(partial, study, objectives)


def silence_experimental_warnings() -> None:
    """Keep Optuna from warning of its own features that this package has chosen."""
    import warnings

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
