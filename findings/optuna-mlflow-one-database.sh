#!/usr/bin/env bash
# MLflow 3.17.2 and Optuna 5.0.0 both keep the version of their tables in a table `alembic_version`. A database that holds the
# runs of one is refused by the other: Optuna says that 5.0.0 is no longer compatible with tables made by 5.0.0 itself, and
# MLflow cannot find the revision. One database for runs and studies, which the addresses of both allow, does not work.
# Guess before the first run: their tables have different names, so both work side by side.
# Source: optuna/storages/_rdb/storage.py (_VersionManager), mlflow/store/db/utils.py; alembic's default version_table.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet mlflow==3.17.2 optuna==5.0.0 sqlalchemy==2.1.9 alembic==1.20.1

cd "$work"
env/bin/python - <<'PYTHON'
import optuna
from mlflow import MlflowClient

optuna.logging.set_verbosity(optuna.logging.ERROR)


def runs(database: str) -> None:
    MlflowClient(f"sqlite:///{database}").search_experiments()


def studies(database: str) -> None:
    optuna.create_study(storage=f"sqlite:///{database}")


def second(first, other, database: str) -> str:
    """Return what the second says of a database that the first has made its tables in."""
    first(database)
    first(database)
    try:
        other(database)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "works"


after_mlflow, after_optuna = second(runs, studies, "one.db"), second(studies, runs, "two.db")
print(f"Optuna after MLflow: {after_mlflow}\nMLflow after Optuna: {after_optuna}")
assert "no longer compatible" in after_mlflow
assert "works" != after_optuna
PYTHON
