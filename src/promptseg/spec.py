"""Specs, by which models and data sets are named: what it is or where it lies, with options behind a question mark."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, unquote, urlencode

from promptseg.errors import PromptsegError, unknown_name

ChoiceT = TypeVar("ChoiceT")


@dataclass(frozen=True)
class Spec:
    """A spec in its parts.

    Attributes:
        text: the whole, by which records and errors name it.
        where: name, folder, or whatever else stands before the question mark.
        options: what stands behind it, by key.
    """

    text: str
    where: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> str:
        """The options as they stand in a spec, question mark included; empty where there are none."""
        return f"?{urlencode(self.options, quote_via=quote)}" if self.options else ""

    def check_options(self, known: Collection[str]) -> None:
        """Refuse options that are not known.

        Raises:
            PromptsegError: there is one.
        """
        for key in self.options:
            if not known:
                raise PromptsegError(f"{self.text}: {self.where} takes no options; leave out what follows '?'")
            if key not in known:
                raise unknown_name(f"option in {self.text}:", key, known)

    def choice(self, key: str, choices: Collection[ChoiceT], default: ChoiceT) -> ChoiceT:
        """An option that is the text of one of `choices`; `default` where it is not given.

        Raises:
            PromptsegError: it is something else.
        """
        if key not in self.options:
            return default
        value = self.options[key]
        by_text = {str(choice): choice for choice in choices}
        if value not in by_text:
            raise unknown_name(f"{key} in {self.text}:", value, by_text)
        return by_text[value]

    def count(self, key: str, default: int) -> int:
        """An option that is a whole number of at least 1.

        Raises:
            PromptsegError: it is something else.
        """
        value = self.options.get(key, str(default))
        if not (value.isascii() and value.isdigit() and 0 < len(value) < 19 and int(value) >= 1):
            raise PromptsegError(f"{self.text}: {key} is {value!r}, expected a whole number of at least 1")
        return int(value)


def read_spec(text: str) -> Spec:
    """The parts of a spec such as `models/sam?text=models/clip&chunk=4`.

    Raises:
        PromptsegError: an option that is given twice.
    """
    where, _, query = text.partition("?")
    parts = (pair.partition("=") for pair in query.split("&") if pair)
    pairs = [(unquote(key), unquote(value)) for key, _, value in parts]
    for key in (options := dict(pairs)):
        if sum(key == other for other, _ in pairs) > 1:
            raise PromptsegError(f"{text}: gives {key} more than once; give it once")
    return Spec(text, where, options)
