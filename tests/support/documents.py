"""What the documents say: their commands, code, links and headings, found in the text and not listed by hand."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import typer
from places import ROOT

from promptseg.cli.main import app

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """One command line of a document, as a shell would split it."""

    document: str
    words: tuple[str, ...]

    @property
    def promptseg(self) -> tuple[str, ...] | None:
        """The arguments if it calls `promptseg`, or Python with `-m promptseg`; else None."""
        if self.words[0] == "promptseg":
            return self.words[1:]
        if "promptseg" in self.words and self.words[self.words.index("promptseg") - 1] == "-m":
            return self.words[self.words.index("promptseg") + 1 :]
        return None

    def __str__(self) -> str:
        return f"{self.document}: {shlex.join(self.words)}"


def text_of(document: Path) -> str:
    """The document."""
    return document.read_text(encoding="utf-8")


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [block for found, block in _FENCE.findall(text_of(document)) if found == language]


def prose(document: Path) -> str:
    """Everything but fenced blocks."""
    return _FENCE.sub("", text_of(document))


def code_spans(document: Path) -> list[str]:
    """What stands between single backticks; a span may run over the end of a line."""
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(document))]


def commands(document: Path) -> list[Command]:
    """The commands of fenced `sh` blocks; variables that are set before one, and what it is piped to, are left out."""
    lines = (line for block in blocks(document, "sh") for line in block.replace("\\\n", " ").splitlines())
    split = (shlex.split(part, comments=True) for line in lines for part in _parts(line))
    return [Command(document.name, words) for given in split if (words := _without_variables(given))]


def _parts(line: str) -> list[str]:
    """The commands of a line that are joined by `&&` or `|`, outside quotes and comments."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word in ("&&", "|"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [" ".join(part) for part in parts]


def _without_variables(words: list[str]) -> tuple[str, ...]:
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    return tuple(words)


def command_spans(document: Path) -> list[Command]:
    """The code spans that are commands; they may leave out options, and hold placeholders in capitals."""
    spans = (span for span in code_spans(document) if re.match(r"(promptseg|python|pip|make|torchrun) ", span))
    return [Command(document.name, tuple(shlex.split(span))) for span in spans]


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        count = sum(known == slug or known.startswith(f"{slug}-") for known in found)
        found.add(f"{slug}-{count}" if slug in found else slug)
    return found


def links(document: Path) -> list[str]:
    """The targets of relative links and pictures."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def parsed(arguments: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """Parse a command with all its options, without running it: its full name, and the values by parameter.

    Raises:
        typer.TyperException: the command line would refuse it.
    """
    context = typer.main.get_command(app).make_context("promptseg", list(arguments))
    while (group := context.command) and hasattr(group, "resolve_command"):
        name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return context.command_path.removeprefix("promptseg "), context.params


def command_names() -> set[str]:
    """The full names of all commands, such as `data check`."""
    groups = typer.main.get_command(app).commands.items()
    return {
        f"{name} {inner}".strip() for name, command in groups for inner in getattr(command, "commands", {"": command})
    }


def options_of(name: str) -> set[str]:
    """The options of a command or a group, by its full name."""
    command = typer.main.get_command(app)
    for word in name.split():
        command = command.commands[word]
    return {"--help", *(option for parameter in command.params for option in parameter.opts)}
