#!/usr/bin/env bash
# XGBModel.load_model of XGBoost 3.2.0 sets parameters of the estimator from what it loads: base_score and booster (and feature_types, of named columns).
# sklearn.base.clone keeps parameters, so a clone that is fitted on other rows starts from the mean of the old target instead
# of estimating its own. Guess before the first run: get_params() is the same before and after loading.
# Source: xgboost/sklearn.py, XGBModel._load_model_attributes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet xgboost==3.2.0 scikit-learn==1.9.1 numpy==2.3.5

"$work/env/bin/python" - <<'PYTHON'
import numpy as np
from sklearn.base import clone
from xgboost import XGBRegressor

rng = np.random.default_rng(0)
X, old, new = rng.random((200, 3)), rng.normal(30, 1, 200), rng.normal(500, 1, 200)
settings = {"n_estimators": 3, "learning_rate": 0.1}
fitted = XGBRegressor(**settings).fit(X, old)
loaded = XGBRegressor(**settings)
loaded.load_model(fitted.get_booster().save_raw("ubj"))
before, after = XGBRegressor(**settings).get_params(), loaded.get_params()
changed = {name: after[name] for name in after if after[name] != before[name] and after[name] == after[name]}
errors = {
    name: float(np.sqrt(np.mean((clone(model).fit(X, new).predict(X) - new) ** 2)))
    for name, model in {"fitted": fitted, "loaded": loaded}.items()
}
print(f"parameters that loading set: {changed}; RMSE of a clone on rows around 500: {errors}")
assert set(changed) == {"base_score", "booster"}, changed
assert errors["fitted"] < 2 < 300 < errors["loaded"], errors
PYTHON
