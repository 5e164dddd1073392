"""Tests of what a run says of the code that made it."""

from pathlib import Path

import pytest

from spotify_ml.tracking import versions


def test_the_digest_of_the_code_changes_with_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "PACKAGE", tmp_path)
    (tmp_path / "below").mkdir()
    digests = []
    for name, text in (("a.py", "x"), ("a.py", "y"), ("below/b.py", ""), ("a.txt", "no code")):
        (tmp_path / name).write_text(text)
        digests.append(versions.code_digest())
    assert len(set(digests)) == 3
    assert digests[2] == digests[3]
