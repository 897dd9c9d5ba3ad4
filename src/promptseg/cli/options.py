"""Options that several commands share, and how commands read them."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from promptseg.cli.output import be_quiet, log_to
from promptseg.errors import PromptsegError
from promptseg.tasks.registry import TASKS

DEFAULT_MODEL = "seem-lite"

SPEC_HELP = "FORMAT:FOLDER?key=value (see data list), streets:CONDITION, or a path."
Data = Annotated[str, typer.Option("--data", metavar="SPEC", help=SPEC_HELP)]
DataArgument = Annotated[str, typer.Argument(metavar="SPEC", help=SPEC_HELP)]
Shots = Annotated[int, typer.Option("--shots", metavar="K", help="Labelled images per class.")]
Rule = Annotated[str, typer.Option("--rule", help="How shots are drawn: cover or union.")]
_TASKS = ", ".join(TASKS.builtin)
Task = Annotated[str, typer.Option("--task", metavar="NAME", help=f"{_TASKS}, or one of an installed package.")]
LearnedTask = Annotated[
    str | None,
    typer.Option("--task", metavar="NAME", help=f"{_TASKS}, or one of an installed package (default: as in the fit)."),
]
TaskSettings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the task; repeatable.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw of shots and of the training.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda (default: cuda where there is one).")]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", help="CPU threads to use.")]
Model = Annotated[str, typer.Option("--model", help="Name of `promptseg models list`, or a model folder.")]
Preset = Annotated[str, typer.Option("--preset", help="tuned, or paper (its settings as written).")]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Training steps (default: the preset's).")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the method; repeatable.")
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", metavar="NAME", help="Encode in float32 or bfloat16 (default: as in the fit)."),
]
Tile = Annotated[
    int | None,
    typer.Option(
        "--tile",
        metavar="SIZE",
        help="See photos in tiles of SIZE pixels, 0: whole (default: as in the fit, or whole).",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option("--overlap", metavar="N", help="Pixels that tiles share (default: an eighth of the tile)."),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Do part I of N (default: that of the job in its SLURM array, or all)."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but results and errors.", callback=be_quiet)]
LogFile = Annotated[
    Path | None, typer.Option("--log-file", metavar="FILE", help="Write what is said here too.", callback=log_to)
]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")]


def new_app(help_text: str) -> typer.Typer:
    """A command group: plain help (rich alone would take a third of the time), our own error lines."""
    return typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )


def show_help(context: typer.Context) -> None:
    """Print the help of a group that was called without a command."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def use_threads(count: int | None) -> None:
    """Let PyTorch use `count` threads; None = as many as it chooses, but no more than this process may use cores.

    The number never depends on what else runs: another number of threads adds up in another order, and gives other
    prompts in the last digits.
    """
    if count is not None and count < 1:
        raise PromptsegError(f"--threads {count}: give a whole number of at least 1")
    import torch

    torch.set_num_threads(count or min(torch.get_num_threads(), _cores()))
    torch.set_flush_denormal(True)  # as training has it; threads inherit it from the one that starts them


def _cores() -> int:
    """Cores that a container lets its processes use together; without a limit, those of the machine."""
    most = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return most if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return most


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Settings given as `key=value`; a value is JSON where it parses as JSON, else text.

    Which names there are depends on method and task: that is checked where these are known.

    Raises:
        PromptsegError: a pair without `=`, or a key given twice.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key.isidentifier():
            raise PromptsegError(f"--set {pair}: expected KEY=VALUE, such as --set learning_rate=0.01")
        if key in settings:
            raise PromptsegError(f"--set {pair}: {key} was already set to {settings[key]!r}; give it once")
        settings[key] = _value(value)
    return settings


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def common_settings(pairs: Sequence[str] | None, **options: int | None) -> dict[str, Any]:
    """Settings of a fit, from `--set` and from options of their own, such as `--steps`."""
    chosen = parse_settings(pairs or ())
    for name, value in options.items():
        if value is not None and name in chosen:
            raise PromptsegError(f"--{name} {value} and --set {name}={chosen[name]}: give one of them")
    return chosen | {name: value for name, value in options.items() if value is not None}
