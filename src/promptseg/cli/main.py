"""The command `promptseg`: its groups, and the one place where errors become exit codes."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from promptseg.cli import (
    data,
    evaluate,
    experiments,
    export,
    fit,
    label_studio,
    models,
    page,
    predict,
    push,
    report,
    serve,
)
from promptseg.cli.options import new_app, show_help
from promptseg.cli.output import exit_code, explain, fail, start_messages
from promptseg.interrupts import INTERRUPTED
from promptseg.version import __version__

app = new_app("Teach a frozen promptable segmenter your own classes by learning its prompts.")
app.command("demo")(fit.demo)
app.command("app")(page.app)
app.command("fit")(fit.fit)
app.command("compare")(experiments.compare)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("serve")(serve.serve)
app.command("label-studio")(label_studio.label_studio)
app.command("export")(export.export)
app.command("push")(push.push)
app.command("report")(report.report)
app.command("reproduce")(experiments.reproduce)
app.command("segment")(predict.segment)
app.add_typer(report.analyze_app, name="analyze")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(data.cache_app, name="cache")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Teach a frozen promptable segmenter your own classes by learning its prompts."""
    if version:
        typer.echo(f"promptseg {__version__}")
        raise typer.Exit
    show_help(context)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `arguments` without the program name."""
    start_messages()
    try:
        code = app(arguments, prog_name="promptseg", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        fail(message)
        return exit_code(error)
    if code == INTERRUPTED:
        fail("stopped")
    return code if isinstance(code, int) else 0
