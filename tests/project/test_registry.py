"""The registry that models, methods, data formats and tasks share: names, errors, and what other packages add."""

import sys

import plugin
import pytest

from promptseg.errors import PromptsegError
from promptseg.registry import Registry

GROUP = "promptseg.test-things"


def things(**builtin):
    """Fractions of the standard library by name."""
    return Registry("number", GROUP, "numbers:Number", builtin or {"pi": "math:pi", "tau": "math:tau"})


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """Installs a distribution of that name with one entry point, whose module holds `code`."""

    def installed(name, key, code):
        module = f"{name.replace('-', '_')}_things"
        plugin.install(tmp_path / name, name, {GROUP: {key: f"{module}:THING"}}, {module: code})
        monkeypatch.syspath_prepend(tmp_path / name)

    return installed


def test_things_are_found_by_name_in_the_given_order():
    import math

    assert list(things()) == ["pi", "tau"] and len(things()) == 2
    assert things().find("tau") == things()["tau"] == math.tau
    assert "pi" in things() and "e" not in things()


def test_a_module_is_imported_when_its_thing_is_looked_up(other_package):
    other_package("late", "answer", "THING = 42")
    registry = things()
    assert list(registry) == ["pi", "tau", "answer"] and "late_things" not in sys.modules
    assert registry.find("answer") == 42 and "late_things" in sys.modules


def test_an_unknown_name_lists_what_there_is_with_that_of_other_packages(other_package):
    other_package("more", "answer", "THING = 42")
    with pytest.raises(PromptsegError, match=r"^unknown number 'e': choose one of answer, pi, tau$"):
        things().find("e")


def test_a_name_that_stands_twice_is_refused_with_both_owners(other_package):
    other_package("thief", "pi", "THING = 3")
    with pytest.raises(PromptsegError, match=r"^number 'pi' of thief 1\.0: promptseg has a number of that name: "):
        things().find("tau")
    other_package("second-thief", "pi", "THING = 4")
    with pytest.raises(
        PromptsegError, match=r"^number 'pi' of (thief|second-thief) 1\.0: (thief|second-thief) 1\.0 has"
    ):
        things(tau="math:tau").find("tau")


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("lacks-a-module", "import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raises-lines", "raise RuntimeError('first\\nsecond')", "RuntimeError: first second"),
        ("lacks-the-thing", "", "AttributeError: .*THING.*"),
    ],
)
def test_a_broken_package_is_named_in_one_line_and_harms_no_other_name(other_package, name, code, reason):
    other_package(name, "lost", code)
    with pytest.raises(
        PromptsegError, match=rf"^number 'lost' of {name} 1\.0: cannot be loaded \({reason}\): "
    ) as error:
        things().find("lost")
    assert "\n" not in str(error.value)
    assert things().find("pi") == things()["pi"] and "lost" in things()


def test_a_thing_of_another_kind_is_refused(other_package):
    other_package("wordy", "word", "THING = 'no number'")
    with pytest.raises(PromptsegError, match=r"'word' of wordy 1\.0: wordy_things:THING is a str, expected a Number"):
        things().find("word")


def test_our_own_mistake_keeps_its_traceback():
    with pytest.raises(ModuleNotFoundError):
        things(lost="promptseg.no_such_module:THING").find("lost")
