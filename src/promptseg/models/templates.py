"""Sentences that class names are put into, and the cleaning of names that goes with SEEM's own list."""

from collections.abc import Collection, Iterable, Sequence

from promptseg.errors import PromptsegError, unknown_name

_OFFICIAL = """\
{}.
a photo of a {}.
a bad photo of a {}.
a photo of many {}.
a sculpture of a {}.
a photo of the hard to see {}.
a low resolution photo of the {}.
a rendering of a {}.
graffiti of a {}.
a bad photo of the {}.
a cropped photo of the {}.
a tattoo of a {}.
the embroidered {}.
a photo of a hard to see {}.
a bright photo of a {}.
a photo of a clean {}.
a photo of a dirty {}.
a dark photo of the {}.
a drawing of a {}.
a photo of my {}.
the plastic {}.
a photo of the cool {}.
a close-up photo of a {}.
a black and white photo of the {}.
a painting of the {}.
a painting of a {}.
a pixelated photo of the {}.
a sculpture of the {}.
a bright photo of the {}.
a cropped photo of a {}.
a plastic {}.
a photo of the dirty {}.
a jpeg corrupted photo of a {}.
a blurry photo of the {}.
a photo of the {}.
a good photo of the {}.
a rendering of the {}.
a {} in a video game.
a photo of one {}.
a doodle of a {}.
a close-up photo of the {}.
the origami {}.
the {} in a video game.
a sketch of a {}.
a doodle of the {}.
a origami {}.
a low resolution photo of a {}.
the toy {}.
a rendition of the {}.
a photo of the clean {}.
a photo of a large {}.
a rendition of a {}.
a photo of a nice {}.
a photo of a weird {}.
a blurry photo of a {}.
a cartoon {}.
art of a {}.
a sketch of the {}.
a embroidered {}.
a pixelated photo of a {}.
itap of the {}.
a jpeg corrupted photo of the {}.
a good photo of a {}.
a plushie {}.
a photo of the nice {}.
a photo of the small {}.
a photo of the weird {}.
the cartoon {}.
art of the {}.
a drawing of the {}.
a photo of the large {}.
a black and white photo of a {}.
the plushie {}.
a dark photo of a {}.
itap of a {}.
graffiti of the {}.
a toy {}.
itap of my {}.
a photo of a cool {}.
a photo of a small {}.
a tattoo of the {}.
"""
"""The bare name, then the 80 sentences published with CLIP for ImageNet, that of `photo` first."""

TEMPLATES: dict[str, tuple[str, ...]] = {
    "photo": ("a photo of a {}.",),
    "raw": ("{}",),
    "official": tuple(_OFFICIAL.splitlines()),
}
"""The template lists by name. `{}` stands for the class name."""


def clean_name(name: str) -> str:
    """A COCO panoptic name without its book-keeping: "wall-other-merged" becomes "wall".

    Only whole endings go, so that a "non-stuffed toy" stays one.
    """
    bare = name.removesuffix("-other").removesuffix("-merged").removesuffix("-stuff")
    return name if bare == name else clean_name(bare)


def unknown_among(words: Collection[str] | None, names: Iterable[str]) -> tuple[str, ...]:
    """The names that are none of the words a model was taught; none for a model that reads any text (`words` None)."""
    return () if words is None else tuple(name for name in names if " ".join(name.lower().split()) not in words)


def fill_templates(names: Sequence[str], templates: str) -> list[list[str]]:
    """The texts of each name: one list per name, as long as the template list.

    Raises:
        PromptsegError: no such template list, or a name is empty.
    """
    if templates not in TEMPLATES:
        raise unknown_name("templates", templates, TEMPLATES)
    for index, name in enumerate(names):
        if not name.strip():
            raise PromptsegError(f"class name {index} is {name!r}: give every class a name to ask for")
    cleaned = [clean_name(name) for name in names] if templates == "official" else list(names)
    return [[template.format(name) for template in TEMPLATES[templates]] for name in cleaned]
