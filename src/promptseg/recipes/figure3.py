"""Figure 3: how much of each class's default prompt the learned weights keep (`default_share` = 1 - w)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptseg.errors import PromptsegError
from promptseg.experiments.plan import Outcome, prompts_folder
from promptseg.experiments.results import Spread, spread
from promptseg.label_space import Color, LabelSpace
from promptseg.prompts import Prompts
from promptseg.recipes.caption_counts import CaptionCounts, counts_picture
from promptseg.recipes.paper import Recipe
from promptseg.reports.pictures import Picture, bar_chart, legend, stack, write_picture
from promptseg.reports.tables import MISSING, Table
from promptseg.text import csv_rows

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
    finished = [outcome.trial for outcome in outcomes if outcome.score is not None]
    kept = [Prompts.load(prompts_folder(out, trial)).default_share("class") for trial in finished]
    kinds = ["things" if info.is_thing else "stuff" for info in label_space.classes]
    shares = [
        Share(name, kind, tuple(float(shares[index]) for shares in kept if shares is not None))
        for index, (name, kind) in enumerate(zip(label_space.names, kinds, strict=True))
    ]
    return sorted(shares, key=lambda share: -share.spread.mean) if kept else []


@dataclass(frozen=True)
class ShareFigure:
    """Figure 3 as text; its picture is a file.

    Attributes:
        table: of all classes.
        csv: the same with the value of every seed.
        correlation: a line about counts and shares.
    """

    table: Table
    csv: str
    correlation: str


def share_figure(
    recipe: Recipe, label_space: LabelSpace, outcomes: Sequence[Outcome], out: Path, captions: CaptionCounts | None
) -> ShareFigure:
    """Draw `out/NAME.png`: (b) the shares, largest first, and above them (a) the counts, where there are any."""
    shares = learned_shares(out, outcomes, label_space)
    counts = {} if captions is None else captions.counts
    if shares:
        picture = shares_picture(shares)
        write_picture(
            out / f"{recipe.name}.png", picture if captions is None else stack([counts_picture(captions), picture])
        )
    seeds = [outcome.trial.seed for outcome in outcomes if outcome.score is not None]
    return ShareFigure(
        shares_table(shares, counts, recipe.title), shares_csv(shares, counts, seeds), correlation(shares, counts)
    )


def check_counts(captions: CaptionCounts, label_space: LabelSpace) -> None:
    """Refuse counts of other classes.

    Raises:
        PromptsegError: a class has no count.
    """
    missing = [name for name in label_space.names if name not in captions.counts]
    if missing:
        raise PromptsegError(
            f"the captions were not counted for class {missing[0]!r}: count them for {label_space.name}"
        )


def correlation(shares: Sequence[Share], counts: Mapping[str, int]) -> str:
    """How count and share go together: Spearman's rank correlation, and Pearson's of log10(1 + count)."""
    if not counts:
        return "no captions given: (a) and its correlation with (b) are left out; give them with --captions FILES"
    if len(shares) < 3:
        return f"no correlation: it needs at least 3 classes, there are {len(shares)}"
    from scipy.stats import pearsonr, spearmanr

    found = [math.log10(1 + counts[share.name]) for share in shares]
    means = [share.spread.mean for share in shares]
    if len(set(found)) == 1 or len(set(means)) == 1:
        return "no correlation: all counts, or all shares, are the same"
    ranks, logs = spearmanr(found, means), pearsonr(found, means)
    return (
        f"captions that name a class against the default's share of it, n = {len(shares)} classes: "
        f"Spearman {ranks.statistic:+.2f} (p = {ranks.pvalue:.2g}), "
        f"Pearson of log10(1 + count) {logs.statistic:+.2f} (p = {logs.pvalue:.2g})"
    )


def shares_table(shares: Sequence[Share], counts: Mapping[str, int], title: str) -> Table:
    """The share of every class, with the means over things and stuff."""
    counted = [(f"{counts[share.name]:,}",) if counts else () for share in shares]
    rows = tuple(
        (share.name, share.kind, share.spread.text(digits=3), *count)
        for share, count in zip(shares, counted, strict=True)
    )
    found = {kind: spread(share.spread.mean for share in shares if share.kind == kind) for kind in _KINDS}
    blank = (MISSING,) if counts else ()
    ends = tuple((f"mean of {kind}", kind, f"{one.mean:.3f}", *blank) for kind, one in found.items() if one is not None)
    headers = ("class", "kind", "default's share", *(("captions",) if counts else ()))
    return Table(headers, rows + ends, title=title)


def shares_csv(shares: Sequence[Share], counts: Mapping[str, int], seeds: Sequence[int]) -> str:
    """One row for each class, with the value of every seed, and its captions where they were counted."""
    headers = ["class", "kind", "captions", "mean", "standard deviation", *(f"seed {seed}" for seed in seeds)]
    rows = []
    for share in shares:
        values = [share.spread.mean, share.spread.deviation, *share.values]
        cells = [share.name, share.kind, counts.get(share.name), *values]
        rows.append(dict(zip(headers, cells, strict=True)))
    return csv_rows(rows, headers)


def shares_picture(shares: Sequence[Share]) -> Picture:
    """Bars of all classes, coloured by kind."""
    names, means = [share.name for share in shares], [share.spread.mean for share in shares]
    bars = bar_chart(names, means, [_KINDS[share.kind] for share in shares])
    return stack([bars, legend(list(_KINDS), list(_KINDS.values()), bars.shape[1])])
