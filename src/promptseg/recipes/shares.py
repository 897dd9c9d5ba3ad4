"""Figure 3b: how much of each class's default prompt the learned weights keep (`default_share` = 1 - w)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from promptseg.data.label_space import Color, LabelSpace
from promptseg.engine.cells import Outcome, prompts_folder
from promptseg.prompts import Prompts
from promptseg.reports.bars import bar_chart
from promptseg.reports.comparison import Spread, spread
from promptseg.reports.layout import legend, stack
from promptseg.reports.pictures import Picture
from promptseg.reports.tables import Table

WEIGHT = "semantic.weight"
"""The part of saved prompts that holds w of each class, (C, 1)."""
_KINDS: dict[str, Color] = {"things": (31, 98, 158), "stuff": (222, 143, 33)}


@dataclass(frozen=True)
class Share:
    """The default's share of one class: one value for each seed."""

    name: str
    kind: str
    values: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Over the seeds."""
        found = spread(self.values)
        assert found is not None
        return found


def learned_shares(out: Path, outcomes: Sequence[Outcome], label_space: LabelSpace) -> list[Share]:
    """The shares of all classes, largest first, from the prompts that a comparison kept in `out`.

    Raises:
        PromptsegError: prompts are missing or damaged.
    """
    finished = [outcome.cell for outcome in outcomes if outcome.score is not None]
    weights = [Prompts.load(prompts_folder(out, cell)).parts[WEIGHT].flatten().tolist() for cell in finished]
    kinds = ["things" if info.is_thing else "stuff" for info in label_space.classes]
    shares = [
        Share(name, kind, tuple(1 - weight[index] for weight in weights))
        for index, (name, kind) in enumerate(zip(label_space.names, kinds, strict=True))
    ]
    return sorted(shares, key=lambda share: -share.spread.mean) if weights else []


def shares_table(shares: Sequence[Share], title: str) -> Table:
    """The share of every class, with the means over things and stuff."""
    rows = tuple((share.name, share.kind, share.spread.text(digits=3)) for share in shares)
    means = {kind: spread(share.spread.mean for share in shares if share.kind == kind) for kind in _KINDS}
    ends = tuple((f"mean of {kind}", kind, f"{mean.mean:.3f}") for kind, mean in means.items() if mean is not None)
    return Table(("class", "kind", "default's share"), rows + ends, title=title)


def shares_csv(shares: Sequence[Share], seeds: Sequence[int]) -> str:
    """One row for each class, with the value of every seed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["class", "kind", "mean", "standard deviation", *(f"seed {seed}" for seed in seeds)])
    for share in shares:
        writer.writerow([share.name, share.kind, share.spread.mean, share.spread.deviation, *share.values])
    return buffer.getvalue()


def shares_picture(shares: Sequence[Share]) -> Picture:
    """Bars of all classes, coloured by kind."""
    names, means = [share.name for share in shares], [share.spread.mean for share in shares]
    bars = bar_chart(names, means, [_KINDS[share.kind] for share in shares])
    return stack([bars, legend(list(_KINDS), list(_KINDS.values()), bars.shape[1])])
