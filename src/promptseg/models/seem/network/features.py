"""What the network computes of images: before prompts have a part in it, and after all but the classes have."""

from dataclasses import dataclass

from torch import Tensor

from promptseg.models.base import ImageFeatures


@dataclass(frozen=True, eq=False)
class SeemFeatures(ImageFeatures):
    """Everything the decoder needs of B images.

    Attributes:
        mask_features: (B, M, H / 4, W / 4), their product with a mask vector gives mask logits.
        shrunk: (B, M, h, w), the mask features resized to each of the levels.
        levels: (B, D, h, w), the maps at strides 32, 16 and 8 that the decoder attends to.
    """

    mask_features: Tensor
    shrunk: tuple[Tensor, ...]
    levels: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class SeemFeaturesWithBackbone(SeemFeatures):
    """The same, with what the decoder does not need.

    Attributes:
        backbone: (B, D_l, h, w), the maps of the backbone, the finest first, for pixel prompts.
    """

    backbone: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class PreparedFeatures(ImageFeatures):
    """The same, with what each decoder layer makes of the levels in their place; it depends on no prompt.

    Attributes:
        mask_features: as in `SeemFeatures`, or samples of them.
        shrunk: as in `SeemFeatures`.
        keys: (B, S, D), what layer i compares its rows with, S the places of its level.
        values: (B, S, D), what it takes from there.
        earlier: (B, M, h, w), mask features of all heads before the last, if they have others.
    """

    mask_features: Tensor
    shrunk: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    earlier: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class DecoderStates(ImageFeatures):
    """What prediction heads know of B images and N queries before they hear of classes.

    Attributes:
        captions: (B, N, D_text), of length 1, head by head.
        masks: (B, N, h, w), mask logits where the mask features are, head by head.
    """

    captions: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
