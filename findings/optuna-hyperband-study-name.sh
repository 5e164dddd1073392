#!/usr/bin/env bash
# HyperbandPruner of Optuna 5.0.0 divides trials among its brackets by a checksum of the study's name and the trial's number.
# The same seeded sampler, the same values and the same curves are pruned otherwise under another name; a name with the time
# in it, as a default often has, makes a study that no seed repeats.
# Guess before the first run: brackets follow the trial's number alone.
# Source: optuna/pruners/_hyperband.py, HyperbandPruner._get_bracket_id.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet optuna==5.0.0

"$work/env/bin/python" - <<'PYTHON'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def steps(name: str) -> list[int]:
    """Return after how many steps each trial was ended."""
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27, reduction_factor=3)
    study = optuna.create_study(study_name=name, sampler=optuna.samplers.RandomSampler(seed=1), pruner=pruner)
    ended = []
    for _ in range(30):
        trial = study.ask()
        error, step = trial.suggest_float("x", 0, 1), 0
        for step in range(1, 28):
            trial.report(error, step)
            if trial.should_prune():
                break
        study.tell(trial, error)
        ended.append(step)
    return ended


first, again, renamed = steps("night-1"), steps("night-1"), steps("night-2")
print(f"steps of 30 trials by one seed: {sum(first)} and {sum(again)} as 'night-1', {sum(renamed)} as 'night-2'")
assert first == again
assert first != renamed
PYTHON
