#!/usr/bin/env bash
# XGBoost 3.2.0 calls no callback after the one that ends the training: in the round in which EarlyStopping stops, those
# behind it in the list are not called. A callback that keeps the learning curve has one point less than evals_result, and
# which one it is depends on the order of the list alone. Where training goes to its last round, all are called.
# Guess before the first run: every callback is called once a round, whatever the order.
# Source: CallbackContainer.after_iteration in xgboost/callback.py joins the answers by any(), over a generator.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet xgboost==3.2.0 numpy==2.3.5

"$work/venv/bin/python" - <<'PYTHON'
import numpy as np
import xgboost
from xgboost.callback import EarlyStopping, TrainingCallback


class Rounds(TrainingCallback):
    def __init__(self):
        super().__init__()
        self.n = 0

    def after_iteration(self, model, epoch, evals_log):
        self.n += 1
        return False


rng = np.random.default_rng(0)
X, y = rng.random((300, 4), dtype=np.float32), rng.random(300)
train, validation = xgboost.DMatrix(X[:200], y[:200]), xgboost.DMatrix(X[200:], y[200:])


def called(order, n_trees):
    rounds, curve = Rounds(), {}
    callbacks = [EarlyStopping(rounds=5), rounds] if order == "behind" else [rounds, EarlyStopping(rounds=5)]
    xgboost.train({"seed": 0}, train, n_trees, evals=[(validation, "val")], evals_result=curve, callbacks=callbacks,
                  verbose_eval=False)
    return rounds.n, len(curve["val"]["rmse"])


behind, before, whole = called("behind", 500), called("before", 500), called("behind", 3)
print(f"calls and rounds: behind EarlyStopping {behind}, before it {before}, without a stop {whole}")
assert behind[0] == behind[1] - 1, behind
assert before[0] == before[1] == behind[1], before
assert whole == (3, 3), whole
PYTHON
