#!/usr/bin/env bash
# `Client.scheduler_info()` of Dask's distributed 2026.8.0 sometimes says that a cluster has no workers while it has one. Each
# call stores the scheduler's answer in the client and then returns what is stored; in between, a timer of the client may store
# its own answer, which leaves the workers out. The timer runs every 2 s, so it is rare; here it runs every 5 ms. Asking the
# scheduler itself (`client.sync(client.scheduler.identity, n_workers=-1)`) is right each time.
# Guess before the first run: the call returns its own answer, so it always lists the worker.
# Source: distributed/client.py (Client.scheduler_info, Client._update_scheduler_info, whose default is n_workers=0).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet distributed==2026.8.0 dask==2026.8.0

cd "$work"
env/bin/python - <<'PYTHON'
import dask
from distributed import Client, LocalCluster

N_CALLS = 5_000
dask.config.set({"distributed.client.scheduler-info-interval": "5ms"})
one = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
with LocalCluster(**one) as cluster, Client(cluster) as client:
    without = sum(not client.scheduler_info()["workers"] for _ in range(N_CALLS))
    asked = sum(not client.sync(client.scheduler.identity, n_workers=-1)["workers"] for _ in range(N_CALLS))
print(f"of {N_CALLS} calls, without a worker: scheduler_info {without}, the scheduler itself {asked}")
assert without > 0
assert asked == 0
PYTHON
