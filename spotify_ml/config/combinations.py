"""What a cluster, and features in files, do not support: refused before anything is imported, read or connected to."""

from spotify_ml.config.models import XGBoostConfig
from spotify_ml.config.run import DaskEngineConfig, RunConfig
from spotify_ml.utils.errors import ConfigError


def refuse_unsupported(config: RunConfig) -> None:
    """Refuse what a cluster, or features in files, do not support; a `ConfigError` names the keys and what to set."""
    asked = []
    if isinstance(config.engine, DaskEngineConfig):
        asked.append(("engine=dask", "engine=local", _reasons_against_dask(config, config.engine)))
    if config.matrices in ("disk", "external"):
        asked.append((f"matrices={config.matrices}", "matrices=memory", reasons_against_files(config)))
    for name, instead, reasons in asked:
        if reasons:
            listing = "\n".join(f"config: {name} with {reason}" for reason in reasons)
            raise ConfigError(f"{listing}\nor use {instead}")


def reasons_against_files(config: RunConfig) -> list[str]:
    """Return why features cannot be in files instead of memory: every unsupported key, and a value to set."""
    reasons = _reasons_of_fit(config, "from files")
    if isinstance(config.model, XGBoostConfig) and config.model.device != "cpu":
        reasons.append(f"model.device={config.model.device}: a GPU reads no files of bins; use cpu")
    if config.engine.name == "dask":
        reasons.append("engine=dask: the features are on its workers; use engine=local")
    return reasons


def _reasons_against_dask(config: RunConfig, engine: DaskEngineConfig) -> list[str]:
    reasons = _reasons_of_fit(config, "on a cluster")
    if config.split.name == "source":
        reasons.append("split=source: the catalogues are divided in one process; use another split")
    if config.split.name == "release":
        reasons.append("split=release: workers read no dates; use another split")
    if config.data.join is not None:
        reasons.append("data.join=…: tables are joined in one process; use data.join=null")
    if isinstance(config.model, XGBoostConfig) and ":" in config.model.device:
        reasons.append(f"model.device={config.model.device}: every worker has its own GPU; use cuda")
    if engine.address is not None and (engine.n_workers or engine.threads_per_worker):
        reasons.append("engine.address=…: it has its workers; leave out engine.n_workers and engine.threads_per_worker")
    return reasons


def _reasons_of_fit(config: RunConfig, where: str) -> list[str]:
    """Return the settings that need more than one fit of XGBoost with histograms, or all rows in memory."""
    reasons = []
    if not isinstance(config.model, XGBoostConfig):
        reasons.append(f"model={config.model.name}: only XGBoost is fitted {where}; use model=xgboost")
    elif config.model.tree_method in ("exact", "approx"):
        reasons.append(f"model.tree_method={config.model.tree_method}: use hist, which sums histograms over rows")
    if config.tune.name != "none":
        reasons.append(f"tune={config.tune.name}: a study fits in memory, in one process; use tune=none")
    if config.cv is not None:
        reasons.append(f"cv={config.cv}: folds are fitted in memory, in one process; use cv=null")
    if config.baselines == "full":
        reasons.append("baselines=full: these are fitted in memory, in one process; use baselines=quick")
    if config.outputs.data:
        reasons.append("outputs.data=true: the matrices are not held in memory; use outputs.data=false")
    return reasons
