"""Tests of the journal of a study: what a full disk or a kill leaves of a line is gone with the next."""

from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage

from spotify_ml.tuning.journal import Journal


def _study(path: Path) -> optuna.Study:
    return optuna.create_study(storage=JournalStorage(Journal(str(path))), study_name="s", load_if_exists=True)


@pytest.mark.parametrize("half", [b"{", b'{"op_code":5,"worker_id":"w', b"x" * 200_000, b""])
def test_half_a_line_is_cut_off_and_the_study_goes_on(half: bytes, tmp_path: Path):
    path = tmp_path / "journal.log"
    study = _study(path)
    study.add_trial(optuna.create_trial(value=1.0))
    with path.open("ab") as file:
        file.write(half)
    for value in (2.0, 3.0):
        study.add_trial(optuna.create_trial(value=value))
    assert [trial.value for trial in _study(path).get_trials()] == [1.0, 2.0, 3.0]
    assert path.read_bytes().endswith(b"}\n")


def test_a_journal_of_nothing_but_half_a_line_is_begun_anew(tmp_path: Path):
    path = tmp_path / "journal.log"
    path.write_bytes(b'{"op_code":0')
    _study(path).add_trial(optuna.create_trial(value=1.0))
    assert [trial.value for trial in _study(path).get_trials()] == [1.0]


def test_a_disk_that_cannot_be_written_is_an_error_of_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    study = _study(tmp_path / "journal.log")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageInternalError) as caught:
        study.add_trial(optuna.create_trial(value=1.0))
    assert "No space left" in str(caught.value.__cause__)
