"""The page on safety names a test for each promise, and the test is there."""

import re

from spotify_ml.utils.paths import PROJECT


def test_every_test_that_the_page_names_is_there():
    page = (PROJECT / "docs" / "safety.md").read_text(encoding="utf-8")
    sources = {path: path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("test_*.py")}
    all_tests = "\n".join(sources.values())
    files = set(re.findall(r"`((?:tests|scripts)/[\w/]+\.py)`", page))
    tests = set(re.findall(r"`(test_\w+)`", page))
    assert len(tests) > 20
    assert [name for name in files if not (PROJECT / name).is_file()] == []
    assert [name for name in tests if f"def {name}(" not in all_tests] == []


def test_every_promise_has_a_test_or_is_the_same_as_one_above():
    page = (PROJECT / "docs" / "safety.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "promise | test" not in line]
    assert len(rows) > 12
    assert [row for row in rows if not re.search(r"`(tests/|test_)", row.split(" | ")[-1])] == []
