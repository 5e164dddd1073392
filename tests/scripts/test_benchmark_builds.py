"""The script that measures two builds in turns, on short commands of this Python."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from spotify_ml.utils.paths import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))
builds: Any = import_module("benchmark_builds")


def build(folder: Path, commit: str) -> Any:
    """Return a build that has this Python."""
    binary = folder / commit / "checkout" / ".venv" / "bin"
    binary.mkdir(parents=True)
    (binary / "python").symlink_to(sys.executable)
    (folder / commit / "store").mkdir()
    return builds.Build(commit, folder / commit / "checkout", folder / commit / "store")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Any, Any]:
    return build(tmp_path, "one"), build(tmp_path, "two")


def test_builds_take_turns_and_every_measure_has_its_ratio(pair: tuple[Any, Any], tmp_path: Path):
    log, script = tmp_path / "log", tmp_path / "busy.py"
    script.write_text(f"import sys; sum(range(10**7)); open({str(log)!r}, 'a').write(sys.argv[1] + '\\n')")
    values = {"scratch": str(tmp_path / "scratch"), "rows": "", "full": ""}
    ratios = builds.measure(pair, {"busy": f"{{python}} {script} {{build}}"}, 3, values)
    assert [Path(each).parent.name for each in log.read_text().split()] == ["one", "two", "two", "one", "one", "two"]
    assert set(ratios.pairs["busy"]) == {"wall", "processor", "peak"}
    for measure, pairs in ratios.pairs["busy"].items():
        assert len(pairs) == 3
        assert all(value > 0 for each in pairs for value in each), measure
    assert ratios.as_markdown().count("| busy |") == 3


def test_a_ratio_is_the_median_of_the_rounds(tmp_path: Path):
    ratios = builds.Ratios(("a", "b"))
    for base, head in ((10.0, 5.0), (20.0, 16.0), (10.0, 30.0)):
        ratios.add("full", dict.fromkeys(builds.MEASURES, base), dict.fromkeys(builds.MEASURES, head))
    assert ratios.ratio("full", "wall") == 0.8
    assert "| full | wall, s | 10.0 (10.0 to 20.0) | 16.0 (5.0 to 30.0) | 0.80 |" in ratios.as_markdown()
    told = json.loads(json.dumps(ratios.as_dict()))
    assert told["ratios"]["full"]["peak"] == 0.8
    assert told["pairs"]["full"]["wall"][2] == [10.0, 30.0]


def test_a_command_that_fails_is_named_with_its_last_line(pair: tuple[Any, Any], tmp_path: Path):
    values = {"scratch": str(tmp_path / "scratch"), "rows": "", "full": ""}
    with pytest.raises(builds.CommandFailedError, match="exit code 3: so it ends"):
        builds.measured(pair[0], "{python} -c 'print(\"so it ends\"); raise SystemExit(3)'", values)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["HEAD", "HEAD"], "are one commit"),
        (["no-such-commit"], "no-such-commit"),
        (["HEAD", "--only", "nothing"], "--only nothing: there are full"),
        (["HEAD", "--rounds", "0"], "--rounds is at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        builds.main(arguments)
    told = capsys.readouterr().err + str(stopped.value)
    assert said in told


def test_every_command_is_of_the_build(pair: tuple[Any, Any]):
    values = {"scratch": "s", "rows": "r.csv", "full": "f.csv"}
    for name, line in {**builds.COMMANDS, **builds.BEFORE}.items():
        assert str(pair[0].folder) in pair[0].line(line, values), name
        assert str(pair[0].store) in pair[0].line(line, values), name
