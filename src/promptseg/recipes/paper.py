"""The tables of the paper, and Figure 3, as data: rows, columns and the paper's own figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from promptseg.errors import unknown_name
from promptseg.experiments.plan import Variant
from promptseg.experiments.results import MS_PER_IMAGE, MS_WITH_ENCODING, PEAK_GB, Measure, headline

Figures = tuple[float | None, ...]
"""The paper's numbers of a row: column by column what is shown of each, then the mean where there is one."""

EIGHT_A_STEP = frozenset({"Mapillary", "ADE20K", "PASCAL Context"})
"""Columns that the paper trains with 8 images a step, on 4 GPUs; all others with 2, on one."""


@dataclass(frozen=True)
class Row:
    """A line of a table: what is run, and what the paper found, by size of its model."""

    label: str
    variant: Variant
    paper: Mapping[str, Figures] = field(default_factory=dict)
    shots: int = 16


@dataclass(frozen=True)
class Recipe:
    """One table, or the figure of the learned shares. Its rows are every variant with every number of shots.

    Attributes:
        name: what `promptseg reproduce` takes.
        title: what the table shows.
        columns: the data sets of the paper.
        rows: its lines, and where they help, lines of our own without figures of the paper.
        miniature: data that stand in for those of the paper: spec by column, or by a name of its own.
        measures: what is shown of each column; none = the headline of each task.
        mean: whether the paper's figures end with their mean over the columns (of a single task and measure).
        claim: what the paper says in words, where it prints no figures: then learned shares are shown, not scores.
        tasks: what is measured on each column: tasks by name, with settings of their own.
        base: the paper's own model, as `load_model` takes it.
        needs: what to say where the user names no model and the bundled one cannot stand in for `base`.
        caveat: what a reader must know of the miniature.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    miniature: Mapping[str, str]
    measures: tuple[Measure, ...] = ()
    mean: bool = False
    claim: str = ""
    base: str = "seem-focal-t-v1"
    needs: str = ""
    caveat: str = ""
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"semantic": {}})

    def of_task(self, task: str) -> "Recipe":
        """The table with the columns of one of its tasks alone.

        Raises:
            PromptsegError: it has no such task.
        """
        if task not in self.tasks:
            raise unknown_name(f"task of {self.name}", task, self.tasks)
        count, place = len(self.tasks), list(self.tasks).index(task)
        rows = tuple(replace(row, paper={size: f[place::count] for size, f in row.paper.items()}) for row in self.rows)
        return replace(self, rows=rows, tasks={task: self.tasks[task]})

    @property
    def shown(self) -> tuple[tuple[str, Measure], ...]:
        """What is shown of each column: of every task each measure, its headline if none is named."""
        return tuple((task, measure) for task in self.tasks for measure in self.measures or (headline(task),))

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes of model that the paper has figures for."""
        return tuple(dict.fromkeys(size for row in self.rows for size in row.paper))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What is run, each once."""
        return tuple({row.variant.label: row.variant for row in self.rows}.values())

    @property
    def shots(self) -> tuple[int, ...]:
        """Its numbers of shots."""
        return tuple(dict.fromkeys(row.shots for row in self.rows))


def _by_size(tiny: Figures, large: Figures) -> dict[str, Figures]:
    return {"tiny": tiny, "large": large}


def _tiny(value: float) -> dict[str, Figures]:
    return {"tiny": (value,)}


ZERO_SHOT, COOP, LOCN, SSPROMPT = (Variant(method) for method in ("zero-shot", "coop", "locn", "ssprompt"))
_CITYSCAPES = ("Cityscapes",)
_SNOW = {"streets:snow": "streets:snow"}
"""The look that leaves the embedded model furthest below clear days, on held-out scenes (docs/models.md)."""

TABLE2 = Recipe(
    "table2",
    "Table 2: five data sets, 16 shots",
    ("Cityscapes", "BDD100K", "Mapillary", "ADE20K", "PASCAL Context"),
    (
        Row("SEEM", ZERO_SHOT, _by_size((39.2, 37.4, 42.1, 14.6, 45.1), (49.3, 44.6, 47.9, 15.2, 37.1))),
        Row("CoOp", COOP, _by_size((50.1, 41.6, 43.3, 17.6, 45.9), (51.2, 45.2, 52.0, 18.1, 47.4))),
        Row("LOCN", LOCN, _by_size((51.5, 42.6, 44.2, 19.3, 46.6), (52.7, 45.7, 53.2, 19.7, 48.9))),
        Row("SSPrompt", SSPROMPT, _by_size((55.2, 47.1, 49.5, 23.2, 51.2), (57.1, 49.5, 56.2, 25.6, 55.3))),
        Row("pixel prompts (not in the paper)", Variant("pixprompt")),
    ),
    {"streets:adverse": "streets:adverse"},
)
TABLE3 = Recipe(
    "table3",
    "Table 3: adverse conditions (ACDC), 16 shots of each",
    ("fog", "night", "rain", "snow"),
    (
        Row("SEEM", ZERO_SHOT, _by_size((34.6, 26.2, 33.1, 35.8, 32.4), (48.1, 32.0, 47.4, 45.0, 43.1))),
        Row("CoOp", COOP, _by_size((36.7, 28.6, 33.5, 36.4, 33.8), (52.2, 33.5, 48.2, 45.6, 44.9))),
        Row("LOCN", LOCN, _by_size((40.1, 29.1, 34.1, 36.6, 35.0), (53.7, 33.8, 49.5, 45.9, 45.7))),
        Row("SSPrompt", SSPROMPT, _by_size((47.5, 32.1, 39.9, 43.1, 40.6), (57.7, 37.8, 54.5, 49.5, 49.9))),
    ),
    {condition: f"streets:{condition}" for condition in ("fog", "night", "rain", "snow")},
    mean=True,
)
TABLE4 = Recipe(
    "table4",
    "Table 4: three tasks, 16 shots",
    _CITYSCAPES,
    (
        Row("SEEM", ZERO_SHOT, {"tiny": (39.2, 32.7, 32.4)}),
        Row("SSPrompt", SSPROMPT, {"tiny": (55.2, 37.7, 38.0)}),
    ),
    _SNOW,
    tasks={"semantic": {}, "instance": {"rules": "cityscapes"}, "panoptic": {}},
)
TABLE5 = Recipe(
    "table5",
    "Table 5: what is learned, and with which weights, 16 shots",
    _CITYSCAPES,
    (
        Row("none", ZERO_SHOT, _tiny(39.2)),
        Row("spatial, fixed average", Variant("spaprompt", {"weight": 0.5}), _tiny(46.2)),
        Row("spatial, learned weights", Variant("spaprompt"), _tiny(49.3)),
        Row("semantic, fixed average", Variant("semprompt", {"weight": 0.5}), _tiny(51.5)),
        Row("semantic, learned weights", Variant("semprompt"), _tiny(53.1)),
        Row("both, learned weights", SSPROMPT, _tiny(55.2)),
        Row("both, no default (not in the paper)", Variant("ssprompt", {"weight": 1})),
    ),
    _SNOW,
)
TABLE6 = Recipe(
    "table6",
    "Table 6: SSPrompt with fewer shots",
    _CITYSCAPES,
    tuple(
        Row(f"{shots} shots", SSPROMPT, _tiny(miou), shots)
        for shots, miou in ((16, 55.2), (12, 52.6), (8, 50.6), (4, 50.1))
    ),
    _SNOW,
)
TABLE8 = Recipe(
    "table8",
    "Table 8: learned coordinates against learned embeddings, 16 shots",
    _CITYSCAPES,
    (
        Row("SEEM", ZERO_SHOT, _tiny(39.2)),
        Row("SEEM, points of a grid (not in the paper)", Variant("zero-shot", {"spatial": "grid"})),
        Row("VSPL", Variant("vspl"), _tiny(41.0)),
        Row("SpaPrompt from that grid (not in the paper)", Variant("spaprompt", {"spatial": "grid"})),
        Row("SpaPrompt, contents and positions (not in the paper)", Variant("spaprompt", {"spatial": "both"})),
        Row("SpaPrompt", Variant("spaprompt"), _tiny(49.3)),
        Row("SSPrompt", SSPROMPT, _tiny(55.2)),
    ),
    _SNOW,
)
TABLE9 = Recipe(
    "table9",
    "Table 9: on SAM with text, 16 shots",
    _CITYSCAPES,
    (
        Row("CoOp", COOP, {"SAM": (14.3,)}),
        Row("LOCN", LOCN, {"SAM": (14.9,)}),
        Row("SSPrompt", SSPROMPT, {"SAM": (20.1,)}),
    ),
    _SNOW,
    base="sam-vit-base",
    needs="table9 is of SAM, which does not come with the package: give --model sam-vit-base to fetch it from the "
    "model hub, or --model 'FOLDER?text=CLIP_FOLDER' with your own files (docs/sam.md); any other --model runs too",
)
TABLE7 = Recipe(
    "table7",
    "Table 7: what training costs, 16 shots",
    ("ADE20K",),
    (
        Row("CoOp", COOP, {"": (None, 87.5, 8.22)}),
        Row("LOCN", LOCN, {"": (None, 89.5, 8.22)}),
        Row("SSPrompt", SSPROMPT, {"": (None, 56.0, 3.82)}),
    ),
    _SNOW,
    measures=(MS_PER_IMAGE, MS_WITH_ENCODING, PEAK_GB),
    caveat="ours: time per image of a batch, as it is, since images are encoded once before, and with the encoding of "
    "an image at each step: the paper does not say which its times are, but speaks of no features that are kept. Peak "
    "memory is that of the fit; on a CPU that of the whole process, model and features included. The text encoder of "
    "seem-lite is tiny beside its decoder: the paper's gap comes from a large one, which CoOp and LOCN go through at "
    "every step",
)
FIG3 = Recipe(
    "fig3",
    "Figure 3: the default's share of each class, learned by SSPrompt with 16 shots",
    _CITYSCAPES,
    (Row("SSPrompt", SSPROMPT),),
    _SNOW,
    claim="foreground classes keep more of the default, background classes less",
)
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (TABLE2, TABLE3, TABLE4, TABLE5, TABLE6, TABLE7, TABLE8, TABLE9, FIG3)
}
"""Tables and figure by name."""


def find_recipe(name: str) -> Recipe:
    """The table or figure of that name.

    Raises:
        PromptsegError: there is none.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
