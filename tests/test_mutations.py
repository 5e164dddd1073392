"""Mutated files, tables and requests: each is read as the plain rows that it is, or refused in one clear line."""

from pathlib import Path

import pytest

from spotify_ml.data.sources import RawTracks
from tests.commands import train_each
from tests.mutations.case import Right
from tests.mutations.catalogue import cases
from tests.mutations.judge import REFUSED, RIGHT
from tests.mutations.session import judged, served, table
from tests.tracking import conftest
from tests.tracking.conftest import Store

pytestmark = pytest.mark.slow
store = conftest.store
SEED, N_CASES, N_COMMANDS = 1, 352, 6


def test_mutated_inputs_are_read_rightly_or_refused(store: Store, tmp_path: Path):
    with served(store.uri, tmp_path) as session:
        outcomes = judged(session, tmp_path, [SEED], N_CASES)
        log = session.log.read_text()
    assert len(outcomes) == N_CASES
    wrong = outcomes[~outcomes["kind"].isin([RIGHT, REFUSED])]
    assert wrong.empty, f"{table(outcomes)}\n{wrong.to_string(max_colwidth=300)}"
    assert "Traceback" not in log


def test_the_command_refuses_what_is_to_be_refused(sample: RawTracks, tmp_path: Path):
    drawn = [case for case in cases(sample.frame, SEED, 0, N_CASES) if case.mode == "train"]
    refused = [case for case in drawn if case.right is Right.REFUSED or case.bad][:N_COMMANDS]
    commands = []
    for number, case in enumerate(refused):
        path = tmp_path / f"{number}.{case.settings['input']}"
        path.write_bytes(case.given)
        commands.append(["data=file", f"data.path={path}", "model.n_estimators=1", "features=audio", "cache=off"])
    for case, done in zip(refused, train_each(commands, tmp_path), strict=True):
        assert done.returncode == 1, case.name
        assert done.stderr.count("error: ") == 1, (case.name, done.stderr)
        assert "Traceback" not in done.stderr
