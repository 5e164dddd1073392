"""What the package offers to whoever imports it."""

import inspect
import re
import subprocess
import sys
import tomllib

import pytest

import spotify_ml
from spotify_ml import __main__ as package
from spotify_ml.utils.errors import ConfigError
from spotify_ml.utils.paths import PACKAGE, PROJECT


@pytest.mark.parametrize("name", spotify_ml.__all__)
def test_every_name_is_a_function_that_says_what_it_does(name: str):
    function = getattr(spotify_ml, name)
    assert inspect.isfunction(function)
    assert inspect.getdoc(function)
    assert "return" in inspect.get_annotations(function)


def test_a_configuration_is_composed_as_on_the_command_line():
    config = spotify_ml.configure("split=artist", "model.max_depth=6")
    assert (config.split.name, config.model.max_depth, config.seed) == ("artist", 6, 42)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modl=linear"], "unknown key 'modl' (did you mean 'model'?)"),
        (["model.max_dept=3"], "unknown key 'model.max_dept'"),
        (["split=artst"], "split=artst: no such choice (did you mean 'artist'?)"),
        (["seed=1,2"], "commas separate the jobs of a sweep"),
        (["foo"], "foo"),
        ([["split=album"]], "give each override as a text of its own"),
        ([3], "give each override as a text of its own"),
    ],
)
def test_a_mistake_is_said_as_on_the_command_line(overrides: list[str], message: str):
    with pytest.raises(ConfigError) as caught:
        spotify_ml.configure(*overrides)
    assert message in str(caught.value)


def test_importing_the_package_imports_no_large_library():
    large = ("mlflow", "pandas", "xgboost", "sklearn", "hydra")
    program = f"import sys, spotify_ml; print([name for name in {large} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_package_lists_its_commands(capsys: pytest.CaptureFixture[str]):
    package.main()
    listed = re.findall(r"python -m spotify_ml\.(\w+)", capsys.readouterr().out)
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    # A folder has its command in `__main__`.
    modules = {name: f"{name}.__main__" if (PACKAGE / name).is_dir() else name for name in listed}
    assert {f"spotify-{name}": f"spotify_ml.{module}:main" for name, module in modules.items()} == scripts
