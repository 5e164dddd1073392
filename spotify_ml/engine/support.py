"""Which runs a cluster can take on, decided before anything is imported, read or connected to."""

from spotify_ml.config import RunConfig, XGBoostConfig
from spotify_ml.errors import ConfigError


def refuse_unsupported(config: RunConfig) -> None:
    """Refuse a configuration that asks a cluster for what it cannot do.

    Parameters
    ----------
    config : RunConfig
        Any run; one of another engine is never refused.

    Raises
    ------
    ConfigError
        Naming every such key, and what to set it to.
    """
    if config.engine.name != "dask":
        return
    reasons = []
    if not isinstance(config.model, XGBoostConfig):
        reasons.append(f"model={config.model.name}: only XGBoost is fitted on a cluster; use model=xgboost")
    elif config.model.tree_method in ("exact", "approx"):
        reasons.append(f"model.tree_method={config.model.tree_method}: use hist, which sums histograms over workers")
    elif ":" in config.model.device:
        reasons.append(f"model.device={config.model.device}: every worker has its own GPU; use cuda")
    if config.tune.name != "none":
        reasons.append(f"tune={config.tune.name}: a study fits in one process; use tune=none")
    if config.cv is not None:
        reasons.append(f"cv={config.cv}: folds are fitted in one process; use cv=null")
    if config.baselines == "full":
        reasons.append("baselines=full: these are fitted in one process; use baselines=quick")
    if config.outputs.data:
        reasons.append("outputs.data=true: the matrices stay on the workers; use outputs.data=false")
    if config.engine.address is not None and (config.engine.n_workers or config.engine.threads_per_worker):
        reasons.append("engine.address=…: it has its workers; leave out engine.n_workers and engine.threads_per_worker")
    if reasons:
        listing = "\n".join(f"config: engine=dask with {reason}" for reason in reasons)
        raise ConfigError(f"{listing}\nor use engine=local")
