#!/usr/bin/env bash
# A journal of Optuna 5.0.0 whose last line was cut, as a full disk or a killed process leaves it, is read as long as nothing
# follows. The next trial appends to the half line: it fails, and from then on the journal cannot be opened at all, so that no
# trial in it can be reached.
# Guess before the first run: the backend cuts the half line, or starts a new one.
# Source: optuna/storages/journal/_file.py, JournalFileBackend.append_logs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet optuna==5.0.0

"$work/env/bin/python" - "$work/journal" <<'PYTHON'
import json
import sys
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)
path = Path(sys.argv[1])


def opened() -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(storage=storage, study_name="night", load_if_exists=True)


opened().optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
whole = path.read_bytes()
path.write_bytes(whole[:-20])
n_trials = len(opened().trials)
try:
    opened().optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
except json.JSONDecodeError:
    pass
try:
    opened()
except json.JSONDecodeError as error:
    print(f"Optuna {optuna.__version__}: {n_trials} trials after the cut; after another began: {type(error).__name__}: {error.msg}")
else:
    raise SystemExit("the journal can be opened")
PYTHON
