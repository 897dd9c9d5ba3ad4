"""VSPL: learned 2-D coordinates of the points behind the spatial prompts (Table 8 of the paper).

The points go through the model's own encoding of points, so the prompts stay what points can say.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from promptseg.checks import check_number
from promptseg.methods.module import Method, PromptModule
from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import point_prompts
from promptseg.prompts import Prompts


@dataclass(frozen=True)
class VSPLSettings:
    """Settings of VSPL.

    Attributes:
        point_rate: learning rate of the logits relative to the base rate; the sigmoid makes a quarter of it at the
            middle of the image.
    """

    point_rate: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_number("point_rate", self.point_rate)


class VSPL(PromptModule):
    """The logits (N, 2) of coordinates in (0, 1): a sigmoid keeps the points inside the image."""

    def __init__(self, model: PromptableSegmenter, defaults: Prompts, settings: VSPLSettings, seed: int) -> None:
        """Start from the model's default points.

        Args:
            model: encodes points.
            defaults: default prompts, those of points, on the device to train on.
            settings: of the learning.
            seed: not needed, the start is not random.

        Raises:
            PromptsegError: the model does not encode points.
        """
        super().__init__()
        self._model, self._settings = point_prompts(model), settings
        self.free_points = nn.Parameter(self._model.default_points().logit())

    def points(self) -> Tensor:
        """The points (N, 2): x and y as fractions of width and height."""
        return self.free_points.sigmoid()

    @property
    def learned_kinds(self) -> frozenset[str]:
        """The kind that the model makes of points."""
        return frozenset({self._model.point_kind})

    def forward(self) -> dict[str, Tensor]:
        """The points where they are now, as the model encodes them."""
        return {self._model.point_kind: self._model.encode_points(self.points())}

    def parts(self) -> dict[str, Tensor]:
        """`points` (N, 2)."""
        return {"points": self.points()}

    def rate_scales(self) -> dict[str, float]:
        """As the settings say."""
        return {"free_points": self._settings.point_rate}


METHOD = Method(VSPLSettings, VSPL, {"spatial": "grid"})
