"""What counts as a class name in a caption: the name, synonyms where they are asked for, and the plurals of both."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptseg.data.formats.classes_json import read_classes
from promptseg.data.registry import FORMATS, load_dataset
from promptseg.errors import PromptsegError
from promptseg.files import read_json

BUILT_IN = "built-in"
_BUILT_IN_FILE = Path(__file__).parent / "synonyms.json"
_IRREGULAR = {
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "shelf": "shelves",
    "tooth": "teeth",
    "wolf": "wolves",
    "woman": "women",
}
_SIBILANTS = ("s", "x", "z", "ch", "sh")


def class_terms(names: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """For each class every phrase that stands for it, in lower case, its words separated by single spaces.

    Raises:
        PromptsegError: no names, one given twice, or one without a letter or digit.
    """
    if not names:
        raise PromptsegError("there are no classes to count: give names separated by commas, a file, or a data spec")
    terms: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name in terms:
            raise PromptsegError(f"class {name!r} is given twice: name it once")
        phrases = [" ".join(words(phrase)) for phrase in (name, *synonyms.get(name.lower(), ()))]
        if not all(phrases):
            raise PromptsegError(f"class {name!r} has a name or synonym without a letter or digit: nothing to look for")
        terms[name] = tuple(dict.fromkeys(form for phrase in phrases for form in (phrase, *plurals(phrase))))
    return terms


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters, marks and digits."""
    spaced = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in text.lower())
    return spaced.split()


def plurals(phrase: str) -> tuple[str, ...]:
    """Plurals of the last word of a phrase, by the rules of English; some are no words, and do no harm."""
    start, _, last = phrase.rpartition(" ")
    start = f"{start} " if start else ""
    found = []
    for singular, plural in _IRREGULAR.items():
        if last == singular or (last.endswith(singular) and len(singular) > 2):
            found.append(last.removesuffix(singular) + plural)
    if last.endswith(_SIBILANTS):
        found.append(f"{last}es")
    elif last.endswith("y") and last[-2:-1] not in ("", *"aeiou"):
        found.append(f"{last[:-1]}ies")
    else:
        found.append(f"{last}s")
    return tuple(start + form for form in found)


def read_class_names(text: str) -> tuple[str, ...]:
    """Class names from a file, a data spec, or a list separated by commas.

    A `.json` file holds a list or `{"classes": ...}`, any other file one name a line.

    Raises:
        PromptsegError: a file or data set that is not there or cannot be read.
    """
    path = Path(text)
    if path.is_file():
        return read_classes(path).names if path.suffix == ".json" else tuple(read_lines(path))
    location = text.partition("?")[0]
    if (location and Path(location).is_dir()) or location.partition(":")[0] in FORMATS:
        return load_dataset(text).label_space.names
    if "/" in text or path.suffix in (".json", ".txt"):
        raise PromptsegError(f"--classes {text}: no such file or folder; give names, a file, or a data spec")
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read_synonyms(given: str) -> dict[str, tuple[str, ...]]:
    """Synonyms by class in lower case: the built-in ones of common street and indoor classes, or those of a JSON file.

    Args:
        given: `BUILT_IN`, or the file.

    Raises:
        PromptsegError: there is no such file, or it is not an object of lists of texts.
    """
    path = _BUILT_IN_FILE if given == BUILT_IN else Path(given)
    content = read_json(path)
    if not isinstance(content, dict) or not all(map(_is_texts, content.values())):
        raise PromptsegError(f'{path}: expected an object of lists of texts, such as {{"car": ["automobile"]}}')
    return {name.lower(): tuple(texts) for name, texts in content.items()}


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise PromptsegError(f"{path}: cannot be read as text ({error}); write one name a line, UTF-8") from None
    return [line.strip() for line in lines if line.strip()]
