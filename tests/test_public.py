"""What the package offers to whoever imports it."""

import inspect
import subprocess
import sys

import pytest

import spotify_ml


@pytest.mark.parametrize("name", spotify_ml.__all__)
def test_every_name_is_a_function_that_says_what_it_does(name: str):
    function = getattr(spotify_ml, name)
    assert inspect.isfunction(function)
    assert inspect.getdoc(function)
    assert "return" in inspect.get_annotations(function)


def test_a_configuration_is_composed_as_on_the_command_line():
    config = spotify_ml.configure("split=artist", "model.max_depth=6")
    assert (config.split.name, config.model.max_depth, config.seed) == ("artist", 6, 42)


def test_importing_the_package_imports_no_large_library():
    large = ("mlflow", "pandas", "xgboost", "sklearn", "hydra")
    program = f"import sys, spotify_ml; print([name for name in {large} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
