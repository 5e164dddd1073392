"""Tests of what tracked files print: commands that do what they say in a checkout."""

import re
import subprocess

import pytest

from spotify_ml.utils.paths import PROJECT


@pytest.fixture(scope="module")
def tracked() -> dict[str, str]:
    """Every tracked text, by its path."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    texts = {}
    for name in filter(None, listed.stdout.split("\0")):
        content = (PROJECT / name).read_bytes() if (PROJECT / name).is_file() else b"\0"
        if b"\0" not in content:
            texts[name] = content.decode()
    return texts


def test_extras_are_installed_without_freezing_the_checkout(tracked: dict[str, str]):
    """Without -e, pip puts a copy of the package in the place of the checkout: what is edited afterwards is ignored."""
    frozen = re.compile(r"pip install (?:--?[\w-]+ )*['\"]?\.(?:\[|['\" ]|$)", re.MULTILINE)
    found = {name: frozen.findall(text) for name, text in tracked.items()}
    assert {name for name, lines in found.items() if any("-e" not in line for line in lines)} == set()
    assert any("pip install -e '.[dask]'" in text for text in tracked.values())
