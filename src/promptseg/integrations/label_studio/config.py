"""What a project's labelling interface asks for: which tool draws, on which photo, and the classes."""

from dataclasses import dataclass
from xml.etree import ElementTree

from PIL import ImageColor

from promptseg.data.label_space import BACKGROUND
from promptseg.errors import PromptsegError
from promptseg.label_space import ClassInfo, Color, default_colors

TOOLS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
"""Tags of the tools that draw areas, the first preferred, and the type of their results."""


@dataclass(frozen=True)
class Interface:
    """A labelling interface.

    Attributes:
        type: of results, `brushlabels` or `polygonlabels`.
        tool: name of the tool's tag.
        image: name of the photo's tag.
        key: where a task's data names the photo.
        classes: what the tool draws.
    """

    type: str
    tool: str
    image: str
    key: str
    classes: tuple[ClassInfo, ...]

    @classmethod
    def parse(cls, config: str) -> "Interface":
        """Read an interface, as XML.

        Raises:
            PromptsegError: it is none, or it has no tool that draws areas on a photo.
        """
        try:
            root = ElementTree.fromstring(config)
        except ElementTree.ParseError as error:
            raise PromptsegError(f"the labelling interface is not XML ({error})") from None
        photos = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
        for name, type_ in TOOLS.items():
            for tag in root.iter(name):
                image, labels = tag.get("toName", ""), [label for label in tag.iter("Label") if label.get("value")]
                if image in photos and labels:
                    return cls(type_, tag.get("name", ""), image, photos[image].removeprefix("$"), _classes(labels))
        wanted = " or ".join(f"<{name}>" for name in TOOLS)
        raise PromptsegError(f"the labelling interface has no {wanted} with a <Label> for an <Image>: add one")

    @property
    def names(self) -> tuple[str, ...]:
        """The classes by name."""
        return tuple(info.name for info in self.classes)

    @property
    def has_background(self) -> bool:
        """Whether people can draw the background, so that what is not drawn is not known."""
        return BACKGROUND in self.names


def _classes(labels: list[ElementTree.Element]) -> tuple[ClassInfo, ...]:
    free = default_colors(len(labels))
    names = list(dict.fromkeys(label.get("value", "") for label in labels))
    given = {label.get("value", ""): label.get("background") for label in labels}
    return tuple(ClassInfo(name, _color(given[name], free[number])) for number, name in enumerate(names))


def _color(text: str | None, otherwise: Color) -> Color:
    try:
        red, green, blue = ImageColor.getrgb(text or "")[:3]
    except ValueError:
        return otherwise
    return red, green, blue
