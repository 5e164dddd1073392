"""Record what users rely on, and check later that it is as it was: figures, hashes, files, and what was saved before.

    python scripts/promises.py record                        # 22 commands on the sample, 4 on the full dataset
    python scripts/promises.py check                         # the same, compared with what was recorded
    python scripts/promises.py check --only default study    # some of them

A record is ``tests/promises/figures.json``: of each command its exit code, all metrics but times, ``config.sha256``,
the hashes of the models in XGBoost's format, the names of params, tags and artifacts. Beside it stands
``before.tar.xz``, a store with one run and one version, its predictions, and a study in SQLite: the version is to score
as it did, the study to go on, the run to be compared with a new one. An issue that changes numbers on purpose records
the figures anew (``record --figures``); what was saved before stays. Exit code 1 if anything differs.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient

from spotify_ml.utils.files import staged
from spotify_ml.utils.paths import PROJECT

FOLDER = PROJECT / "tests" / "promises"
FIGURES, BEFORE = FOLDER / "figures.json", FOLDER / "before.tar.xz"
SAMPLE = PROJECT / "spotify_ml" / "data" / "sample" / "spotify_by_genre.parquet"
FULL = Path(os.environ.get("SPOTIFY_TRACKS_PATH", PROJECT.parent / "shared" / "data" / "spotify_tracks.parquet"))
MODEL = "spotify-popularity"
STUDY = "before"
_FEW = ["model.n_estimators=40"]
_DASK = ["engine=dask", "engine.n_workers=1", "engine.threads_per_worker=1"]
# Name: what is typed after `python -m spotify_ml.train`.
RUNS = {
    "default": [],
    "reference": ["experiment=reference"],
    "tuned": ["experiment=tuned", *_FEW],
    "random": ["split=random", *_FEW],
    "album": ["split=album", *_FEW],
    "artist": ["split=artist", "cv=3", *_FEW],
    "rows": ["cleaning=rows", "features=audio", *_FEW],
    "classification": ["task=classification", *_FEW],
    "popular": ["task=classification", "task.label=popular", "task.weights=balanced", *_FEW],
    "lightgbm": ["model=lightgbm", *_FEW],
    "linear": ["model=linear"],
    "random forest": ["model=random_forest", "model.n_estimators=20"],
    "hist": ["model=hist_gradient_boosting", "model.max_iter=40"],
    "two part": ["model=two_part"],
    "blend": ["model=blend"],
    "disk": ["matrices=disk", *_FEW],
    "external": ["matrices=external", *_FEW],
    "dask": [*_DASK, *_FEW],
    "baselines": ["baselines=full", "outputs.data=true", *_FEW],
    "study": ["tune=optuna", "tune.n_trials=3", "tune.study_name=s", *_FEW],
    "sweep": ["-m", "seed=1,2", *_FEW],
    "refused": ["task=classification", "model=two_part"],
}
ON_FULL = ("default", "reference", "album", "classification")
# Of a run's metrics, what is not the same each time.
_TIME = "time/"
# Forests add up their trees in the order in which threads come to them.
_TOLERANCE = 1e-7
# Other processors round otherwise, and trees divide rows by what was rounded.
_PORTABLE_TOLERANCE = 1e-2


def command(*typed: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command of the package in a folder, with a store of that folder."""
    own = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'store' / 'mlflow.db'}",
        "SPOTIFY_CACHE_PATH": str(folder / "cache"),
    }
    return subprocess.run(
        [sys.executable, *typed],
        cwd=folder,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )


def figures_of(name: str, data: str, folder: Path) -> dict[str, Any]:
    """Run a configuration, and return all that is to stay the same of it."""
    where = f"hydra.sweep.dir={folder / 'run'}" if name == "sweep" else f"hydra.run.dir={folder / 'run'}"
    full = ["data=full", f"data.path={FULL}"] if data == "full" else []
    study = [f"tune.storage=sqlite:///{folder / 'study.db'}"] if name == "study" else []
    done = command("-m", "spotify_ml.train", *full, *RUNS[name], *study, where, folder=folder)
    if done.returncode:
        return {"code": done.returncode, "error": done.stderr.strip().splitlines()[-1]}
    client = MlflowClient(f"sqlite:///{folder / 'store' / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    found = {}
    for run in sorted(runs, key=lambda each: int(each.info.start_time)):
        summary = _summary_of(run.info.run_id, folder / "run")
        found[_kind(run, found)] = {
            "status": run.info.status,
            "metrics": {key: value for key, value in run.data.metrics.items() if _TIME not in key},
            "config.sha256": run.data.tags.get("config.sha256"),
            "params": sorted(run.data.params),
            "tags": sorted(key for key in run.data.tags if not key.startswith(("process/", "version."))),
            "artifacts": sorted(_artifacts(client, run.info.run_id)),
            "models": {} if summary is None else _hashes(summary.parent / "models"),
        }
    return {"code": 0, "runs": found}


def _kind(run: Any, found: dict[str, Any]) -> str:
    """Return a name for a run that is the same each time: they come one after the other."""
    return f"{'below' if 'mlflow.parentRunId' in run.data.tags else 'run'} {len(found)}"


def _summary_of(run_id: str, folder: Path) -> Path | None:
    return next(
        (path for path in folder.rglob("summary.json") if json.loads(path.read_text()).get("run_id") == run_id), None
    )


def _artifacts(client: MlflowClient, run_id: str, below: str | None = None) -> Iterator[str]:
    for each in client.list_artifacts(run_id, below):
        if each.is_dir:
            yield from _artifacts(client, run_id, each.path)
        else:
            yield each.path


def _hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of the models in files whose bytes say no more than the model."""
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*xgboost*.json"))}


def keep(path: Path) -> None:
    """Write what is to be read later: a store with one version, what it predicts, and a study."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        typed = [*_FEW, f"hydra.run.dir={folder / 'run'}"]
        for more in ([], ["tune=optuna", "tune.n_trials=2", f"tune.study_name={STUDY}", *_storage(folder)]):
            run = [each.replace("/run", "/tuned") if more else each for each in typed]
            _must(command("-m", "spotify_ml.train", *run, *more, "register=true", folder=folder))
        pd.read_parquet(SAMPLE).drop(columns="popularity").head(300).to_parquet(folder / "rows.parquet")
        scored = ["input=rows.parquet", "output=scored.parquet", "interval=0.8"]
        _must(command("-m", "spotify_ml.predict", f"model=models:/{MODEL}/1", *scored, folder=folder))
        with staged(path) as file, tarfile.open(file, "w:xz") as archive:
            for name in ("store", "study.db", "rows.parquet", "scored.parquet"):
                archive.add(folder / name, name)


def _storage(folder: Path) -> list[str]:
    return [f"tune.storage=sqlite:///{folder / 'study.db'}"]


def _must(done: "subprocess.CompletedProcess[str]") -> None:
    if done.returncode:
        sys.exit(f"{' '.join(done.args)}\n{done.stderr}")


def faults_of_before() -> Iterator[str]:
    """Yield what cannot be done any more with what was saved before."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with tarfile.open(BEFORE) as archive:
            archive.extractall(folder, filter="data")
        done = command("-m", "spotify_ml.relocate", folder=folder)
        if done.returncode:
            yield f"relocate: {done.stderr}"
        scored = ["input=rows.parquet", "output=again.parquet", "interval=0.8"]
        done = command("-m", "spotify_ml.predict", f"model=models:/{MODEL}/1", *scored, folder=folder)
        if done.returncode or "Traceback" in done.stderr:
            yield f"the version of before does not score: {done.stderr}"
        else:
            before, now = (pd.read_parquet(folder / name) for name in ("scored.parquet", "again.parquet"))
            try:
                pd.testing.assert_frame_equal(before, now, rtol=_TOLERANCE)
            except AssertionError as error:
                yield f"the version of before scores otherwise: {error}"
        more = ["tune=optuna", "tune.n_trials=3", f"tune.study_name={STUDY}", *_storage(folder), *_FEW]
        done = command("-m", "spotify_ml.train", *more, f"hydra.run.dir={folder / 'goes-on'}", folder=folder)
        if done.returncode or "3 complete" not in done.stdout.replace(", 0 pruned", ""):
            yield f"the study of before does not go on: {done.stdout[-300:]}{done.stderr}"
        client = MlflowClient(f"sqlite:///{folder / 'store' / 'mlflow.db'}")
        old = client.get_model_version(MODEL, "1").run_id
        done = command("-m", "spotify_ml.train", *_FEW, f"hydra.run.dir={folder / 'new'}", folder=folder)
        new = json.loads((folder / "new" / "summary.json").read_text())["run_id"] if not done.returncode else ""
        compared = command(str(PROJECT / "scripts" / "compare.py"), old, new, "output=c.html", folder=folder)
        if done.returncode or compared.returncode:
            yield f"the run of before cannot be compared: {done.stderr}{compared.stderr}"
        done = command("-m", "spotify_ml.promote", "version=1", folder=folder)
        if done.returncode:
            yield f"the version of before cannot be promoted: {done.stderr}"


def differences(before: Any, now: Any, where: str = "", tolerance: float = _TOLERANCE) -> Iterator[str]:
    """Yield where two records differ; numbers may by a share of their size."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            if key not in now:
                yield f"{where}/{key} is gone"
            elif key not in before:
                yield f"{where}/{key} is new"
            else:
                yield from differences(before[key], now[key], f"{where}/{key}", tolerance)
    elif isinstance(before, list) and isinstance(now, list):
        yield from (f"{where}: {each} is gone" for each in before if each not in now)
        yield from (f"{where}: {each} is new" for each in now if each not in before)
    elif isinstance(before, float) and isinstance(now, float):
        if not (math.isclose(before, now, rel_tol=tolerance, abs_tol=tolerance) or math.isnan(before + now)):
            yield f"{where}: {now!r}, before {before!r}"
    elif before != now:
        yield f"{where}: {now!r}, before {before!r}"


def measured(names: Sequence[str], data: Sequence[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the figures of each configuration on each dataset, where it is."""
    for which in data:
        if which == "full" and not FULL.is_file():
            print(f"passed over: {FULL.name} is not here", file=sys.stderr)
            continue
        for name in names:
            if which == "full" and name not in ON_FULL:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                yield which, name, figures_of(name, which, Path(scratch))
            print(f"{which} {name}", file=sys.stderr, flush=True)


def main() -> int:
    """Record or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "check"))
    parser.add_argument("--only", nargs="+", choices=[*RUNS, "before"], default=[*RUNS, "before"], help="which (all)")
    parser.add_argument("--data", nargs="+", choices=("sample", "full"), default=["sample", "full"], help="(both)")
    parser.add_argument("--portable", action="store_true", help="elsewhere: no hashes of models and configurations")
    parser.add_argument("--figures", action="store_true", help="record figures alone; what was saved before stays")
    options = parser.parse_args()
    names = [name for name in options.only if name != "before"]
    recorded = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
    if options.what == "record":
        for which, name, figures in measured(names, options.data):
            recorded.setdefault(which, {})[name] = figures
            with staged(FIGURES) as file:
                file.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if "before" in options.only and not options.figures:
            keep(BEFORE)
        return 0
    found = [] if "before" not in options.only else list(faults_of_before())
    for which, name, figures in measured(names, options.data):
        before, now = recorded[which][name], json.loads(json.dumps(figures))
        if options.portable:
            for run in (*before.get("runs", {}).values(), *now.get("runs", {}).values()):
                run["models"] = sorted(run["models"])
                # It knows the path of the data, and so where the checkout is.
                del run["config.sha256"]
        tolerance = _PORTABLE_TOLERANCE if options.portable else _TOLERANCE
        found += differences(before, now, f"{which} {name}", tolerance)
    print("\n".join(found) or "nothing differs")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
