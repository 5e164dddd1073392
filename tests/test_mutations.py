"""Mutated files, tables and requests: each is read as the plain rows that it is, or refused in one clear line."""

from pathlib import Path

import pytest

from tests.mutations.judge import REFUSED, RIGHT
from tests.mutations.session import judged, served, table
from tests.tracking import conftest
from tests.tracking.conftest import Store

store = conftest.store
SEED, N_CASES = 1, 352


@pytest.mark.slow
def test_mutated_inputs_are_read_rightly_or_refused(store: Store, tmp_path: Path):
    with served(store.uri, tmp_path) as session:
        outcomes = judged(session, tmp_path, [SEED], N_CASES)
        log = session.log.read_text()
    assert len(outcomes) == N_CASES
    wrong = outcomes[~outcomes["kind"].isin([RIGHT, REFUSED])]
    assert wrong.empty, f"{table(outcomes)}\n{wrong.to_string(max_colwidth=300)}"
    assert "Traceback" not in log
