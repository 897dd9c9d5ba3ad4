"""Model specs: a name, a folder or `hub:ORGANISATION/NAME`, with options behind a question mark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from promptseg.errors import PromptsegError, unknown_name


@dataclass(frozen=True)
class ModelSpec:
    """A spec in its parts.

    Attributes:
        text: the whole, which prompts record as the model they belong to.
        where: name, folder, or `hub:ORGANISATION/NAME`.
        options: what stands behind the question mark, by key.
    """

    text: str
    where: str
    options: Mapping[str, str] = field(default_factory=dict)

    def check_options(self, known: Sequence[str]) -> None:
        """Refuse options that the model does not have.

        Raises:
            PromptsegError: there is one.
        """
        for key in self.options:
            if not known:
                raise PromptsegError(f"{self.text}: {self.where} takes no options; leave out what follows '?'")
            if key not in known:
                raise unknown_name(f"option in {self.text}:", key, known)

    def count(self, key: str, default: int) -> int:
        """An option that is a whole number of at least 1.

        Raises:
            PromptsegError: it is something else.
        """
        value = self.options.get(key, str(default))
        if not (value.isascii() and value.isdigit() and int(value) >= 1):
            raise PromptsegError(f"{self.text}: {key} is {value!r}, expected a whole number of at least 1")
        return int(value)


def read_spec(text: str) -> ModelSpec:
    """The parts of a spec such as `models/sam?text=models/clip&chunk=4`."""
    where, _, query = text.partition("?")
    return ModelSpec(text, where, dict(parse_qsl(query, keep_blank_values=True)))
