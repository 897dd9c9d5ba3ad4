"""What the three models of the family have in common: a frozen network with an input of fixed size."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from promptseg.errors import PromptsegError
from promptseg.models.base import ImageFeatures, Prediction, Resampling, Size
from promptseg.models.evidence import DenseMap, Evidence, has_pixel_prompts
from promptseg.models.images import image_sizes, normalised
from promptseg.prompts import Prompts
from promptseg.tensor_files import fingerprint


@dataclass(frozen=True, eq=False)
class SamFeatures(ImageFeatures):
    """What the decoder of a SAM, SAM 2 or SAM 3 needs of B images.

    Attributes:
        levels: (B, D, h, w), maps of the image, the coarsest last; SAM has one alone.
    """

    levels: tuple[Tensor, ...]


class FrozenSam(ABC):
    """A frozen network behind the parts of `PromptableSegmenter` that the family shares.

    Attributes:
        network: the model of the library.
        size: side of its square input, pixels.
        chunk: classes that are decoded at once; more need more memory and give the same answer.
        licence: of the weights.
    """

    mean: ClassVar[tuple[float, float, float]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, float, float]] = (0.229, 0.224, 0.225)
    resampling: ClassVar[Resampling] = "bilinear"
    classes_apart: ClassVar[bool] = True

    def __init__(self, network: Any, model_id: str, size: int, chunk: int, licence: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.size, self.chunk, self.licence = size, chunk, licence
        self._id = model_id

    @property
    def id(self) -> str:
        """The spec it was loaded by."""
        return self._id

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names, shapes and values of all weights, those of the text encoder included."""
        return fingerprint(self.parameter_tensors().items())

    def input_size(self, size: Size, short_side: int | None = None) -> Size:
        """The whole square, whatever the proportions of the image.

        Raises:
            PromptsegError: `short_side` is given.
        """
        if short_side is not None:
            raise PromptsegError(f"short_side is {short_side}: {self.id} reads {self.size} pixels only; leave it out")
        return self.size, self.size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.network.parameters()).device
        return device

    def parameter_tensors(self) -> dict[str, Tensor]:
        """All weights by official name (the live tensors, not copies)."""
        return dict(self.network.named_parameters())

    @property
    def features_type(self) -> type[SamFeatures]:
        """What `encode_image` gives."""
        return SamFeatures

    @torch.no_grad()
    def encode_image(self, images: Sequence[Tensor] | Tensor) -> SamFeatures:
        """Features of B images (3, H, W), RGB, 0..255, any dtype; smaller ones are padded right and below.

        Raises:
            PromptsegError: no image, one that is not (3, H, W), or one that is larger than the input.
        """
        sizes = image_sizes(images)
        for index, size in enumerate(sizes):
            if max(size) > self.size:
                raise PromptsegError(
                    f"image {index} has shape {tuple(images[index].shape)}, {self.id} takes {self.size} pixels a side"
                    " at most: resize it to input_size"
                )
        pixels = torch.stack([self.normalised(image) for image in images])
        return self._features(pixels, (self.size, self.size), sizes)

    def normalised(self, image: Tensor) -> Tensor:
        """An image (3, H, W), 0..255, as the network reads it: (3, size, size)."""
        return normalised(image.to(self.device, torch.float32) / 255, self.mean, self.std, (self.size, self.size))

    @property
    @abstractmethod
    def dense_map_specs(self) -> tuple[DenseMap, ...]:
        """The maps of the image that the decoder reads, the coarsest last."""

    def dense_maps(self, features: ImageFeatures) -> tuple[Tensor, ...]:
        """The maps of `dense_map_specs`, each (B, D_l, h, w)."""
        assert isinstance(features, SamFeatures), "features of this model"
        return features.levels

    def _with_evidence(self, prediction: Prediction, features: ImageFeatures, prompts: Prompts) -> Prediction:
        """The prediction with what pixel prompts find, if there are any."""
        if not has_pixel_prompts(prompts):
            return prediction
        return replace(prediction, evidence=Evidence.of(self.dense_map_specs, self.dense_maps(features), prompts))

    @abstractmethod
    def _features(self, pixels: Tensor, canvas: Size, image_sizes: tuple[Size, ...]) -> SamFeatures:
        """What the decoder needs of images (B, 3, size, size)."""

    def _single(self, features: ImageFeatures) -> list[SamFeatures]:
        """The features of each image by itself, in the precision of the weights (a cache may hold half)."""
        assert isinstance(features, SamFeatures), "features of this model"
        weight = next(self.network.parameters())
        return [features[index : index + 1].to(weight.device, weight.dtype) for index in range(len(features))]


def recomputed(run: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Results of `run` for every item.

    Where there are several items and a gradient is wanted, only the results are kept: what lies between is computed
    again on the way back, one item at a time, so that memory is that of one.
    """
    if len(items) == 1 or not torch.is_grad_enabled():
        return [run(*item) for item in items]
    return [checkpoint(run, *item, use_reentrant=False, preserve_rng_state=False) for item in items]
