"""The classes that prompts were learned for, out of their record: names, colours, and which are things."""

from promptseg.errors import PromptsegError
from promptseg.label_space import ClassInfo, LabelSpace, default_colors
from promptseg.prompts import Prompts


def recorded_label_space(prompts: Prompts) -> LabelSpace:
    """The label space in the record of prompts; where there is none, their names in made-up colours, all stuff.

    Raises:
        PromptsegError: the record's label space does not fit the prompts.
    """
    names, space = prompts.class_names, prompts.record.get("label_space")
    if space is None:
        return LabelSpace("prompts", tuple(map(ClassInfo, names, default_colors(len(names)))))
    try:
        classes = tuple(ClassInfo(e["name"], _color(e["color"]), bool(e.get("is_thing"))) for e in space["classes"])
        fits = tuple(c.name for c in classes) == names
    except (AttributeError, KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise PromptsegError(
            f"the record's label_space has no name and RGB color for each of the {len(names)} classes: fit again"
        )
    return LabelSpace(str(space.get("name", "prompts")), classes)


def _color(levels: list[int]) -> tuple[int, int, int]:
    red, green, blue = levels
    if not all(type(level) is int and 0 <= level <= 255 for level in levels):
        raise ValueError(levels)
    return red, green, blue
