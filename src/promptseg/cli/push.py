"""`promptseg push`: learned prompts to the model hub."""

from pathlib import Path
from typing import Annotated

import typer


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or a prompt folder.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="ORGANISATION/NAME on the hub, made if it is not there.")],
    figures: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Scores for the card, as evaluate --prompts RUN --json prints; repeatable."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Share learned prompts on the model hub: tensors, record and card, in one commit.

    Prints what --prompts takes elsewhere. Log in first with a token that may write: hf auth login.
    """
    from promptseg.cards import Figures
    from promptseg.engine.runs import load_prompts
    from promptseg.files import read_json
    from promptseg.models.registry import hub_source

    prompts = load_prompts(run)
    known = [Figures.read(read_json(path), prompts.fingerprint, str(path)) for path in figures or ()]
    source = hub_source(prompts.model_id)
    typer.echo(prompts.push_to_hub(repo, private=private or None, base_model=source, figures=known))
