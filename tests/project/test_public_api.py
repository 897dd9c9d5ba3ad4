"""The public names: there, lazy, and with the arguments that other code relies on."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import promptseg

PUBLIC = {
    "Labeller": ("about", "device"),
    "Prompts": ("load", "save"),
    "PromptsegError": (),
    "draw_shots": ("samples", "k", "seed", "rule", "min_frac"),
    "evaluate": ("model", "prompts", "samples", "task"),
    "fit": ("model", "shots", "method", "task", "preset", "steps", "seed", "out", "resume"),
    "load_dataset": ("spec",),
    "load_model": ("name_or_folder", "device"),
    "predict": ("model", "prompts", "image"),
    "segment": ("model", "image", "text", "points", "boxes", "strokes", "negative", "previous", "seed"),
}


def test_exactly_these_names_are_public():
    assert set(promptseg.__all__) == {*PUBLIC, "__version__"}
    assert set(PUBLIC) < set(dir(promptseg))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_docstring_and_its_arguments_or_methods(name):
    value = getattr(promptseg, name)
    assert inspect.getdoc(value)
    if inspect.isclass(value):
        assert all(hasattr(value, method) for method in PUBLIC[name])
    else:
        parameters = tuple(inspect.signature(value).parameters)
        assert parameters[: len(PUBLIC[name])] == PUBLIC[name]


def test_every_public_name_can_be_the_first_one_used():
    for name in PUBLIC:
        subprocess.run([sys.executable, "-c", f"from promptseg import {name}"], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = promptseg.fitt


def test_the_installed_version_is_the_package_version():
    assert version("promptseg") == promptseg.__version__
