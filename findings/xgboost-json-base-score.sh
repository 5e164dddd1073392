#!/usr/bin/env bash
# XGBoost 3.2.0 writes a regression's base score into the JSON file as a list, "[5.0046E2]" or the like. XGBoost 3.0.5 loads
# the file without an error or a warning and takes 0.5 for it: every prediction is too low by the base score less 0.5.
# Guess before the first run: 3.0.5 refuses the file, or warns of a newer version.
# Source: the field learner.learner_model_param.base_score became a vector with the intercepts of 3.1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 3.2.0 3.0.5; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install --quiet "xgboost==$version" numpy==2.3.5
done

"$work/3.2.0/bin/python" - "$work" <<'PYTHON'
import sys
import numpy as np
import xgboost

rng = np.random.default_rng(0)
X = rng.random((200, 3), dtype=np.float32)
y = 500 + X[:, 0]
booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(X, y), 5)
booster.save_model(f"{sys.argv[1]}/model.json")
np.save(f"{sys.argv[1]}/X.npy", X)
np.save(f"{sys.argv[1]}/expected.npy", booster.predict(xgboost.DMatrix(X)))
PYTHON

"$work/3.0.5/bin/python" -W error - "$work" <<'PYTHON'
import json
import sys
from pathlib import Path

import numpy as np
import xgboost

folder = sys.argv[1]
score = json.loads(Path(folder, "model.json").read_text())["learner"]["learner_model_param"]["base_score"]
predicted = xgboost.Booster(model_file=f"{folder}/model.json").predict(xgboost.DMatrix(np.load(f"{folder}/X.npy")))
short = np.load(f"{folder}/expected.npy") - predicted
print(f"base score in the file: {score}; XGBoost {xgboost.__version__} predicts {short.min():.3f} to {short.max():.3f} too low")
assert score.startswith("["), score
assert np.allclose(short, float(score.strip("[]")) - 0.5, atol=1e-2), short
PYTHON
