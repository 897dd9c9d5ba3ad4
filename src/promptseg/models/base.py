"""What a promptable segmenter is to the rest of the package.

The seam between `encode_image` and `decode` is the cache boundary: image features depend on no
prompt, so they are computed once per image and reused at every step of prompt learning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol, Self, TypeVar, get_args, get_type_hints

import torch
from torch import Tensor

from promptseg.models.evidence import Evidence
from promptseg.prompts import Prompts, PromptSpec

Size = tuple[int, int]
"""Height and width, in pixels."""
Upsampling = Literal["bilinear", "bicubic"]
"""How masks are enlarged; bicubic with antialias."""
Resampling = Literal["bilinear", "bicubic"]
"""How photos are resized: with Pillow's filter of that name."""
RESAMPLINGS: tuple[Resampling, ...] = get_args(Resampling)


FeaturesT = TypeVar("FeaturesT", bound="ImageFeatures")

ABSENT = -30.0
"""Class logit of a class that a prediction cannot be: e^-30 is nothing beside 1 in float32, yet losses stay finite."""

UNKNOWN_LICENCE = "not known: ask whoever made the weights"


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """What a model computes of B images that share one padded canvas, and works on from then on.

    Each model has subclasses with fields of its own: tensors (B, ...), or tuples of such tensors.

    Attributes:
        canvas: height and width of the padded input, pixels.
        image_sizes: height and width of each image on the canvas (top left), pixels.
    """

    canvas: Size
    image_sizes: tuple[Size, ...]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors: `name` of a field that is one, `name.0`, `name.1`, ... of a field that is a tuple."""
        found: dict[str, Tensor] = {}
        for name, value in self._fields():
            found |= {name: value} if isinstance(value, Tensor) else {f"{name}.{i}": t for i, t in enumerate(value)}
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], canvas: Size, image_sizes: tuple[Size, ...]) -> Self:
        """The features whose `tensors` these are.

        Raises:
            KeyError: there is no tensor of a field.
            ValueError: a tensor is of no field.
        """
        found: dict[str, Any] = {}
        hints, left = get_type_hints(cls), len(tensors)
        for name in (field.name for field in fields(cls)[_SHARED_FIELDS:]):
            own = [other for other in tensors if other.startswith(f"{name}.")]
            found[name] = (
                tensors[name] if hints[name] is Tensor else tuple(tensors[f"{name}.{i}"] for i in range(len(own)))
            )
            left -= 1 if hints[name] is Tensor else len(own)
        if left:
            raise ValueError(f"tensors {', '.join(tensors)} are not those of {cls.__name__}")
        return cls(canvas, image_sizes, **found)

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, index: slice) -> Self:
        """The features of some of the images."""
        return replace(self._each(lambda tensor: tensor[index]), image_sizes=self.image_sizes[index])

    @property
    def nbytes(self) -> int:
        """Memory of the tensors, bytes."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """The same features on another device; floating point numbers as `dtype` if given."""
        return self._each(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))

    @staticmethod
    def cat(parts: Sequence[FeaturesT]) -> FeaturesT:
        """Join features of one kind and canvas along the batch; a single part is returned as it is."""
        if len(parts) == 1:
            return parts[0]
        columns = [[value for _, value in part._fields()] for part in parts]
        joined: dict[str, Any] = {
            name: torch.cat(values)
            if isinstance(values[0], Tensor)
            else tuple(map(torch.cat, zip(*values, strict=True)))
            for (name, _), values in zip(parts[0]._fields(), zip(*columns, strict=True), strict=True)
        }
        return replace(parts[0], image_sizes=tuple(size for part in parts for size in part.image_sizes), **joined)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed: dict[str, Any] = {
            name: change(value) if isinstance(value, Tensor) else tuple(map(change, value))
            for name, value in self._fields()
        }
        return replace(self, **changed)

    def _fields(self) -> list[tuple[str, Tensor | tuple[Tensor, ...]]]:
        """What the subclass adds."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)[_SHARED_FIELDS:]]


_SHARED_FIELDS = len(fields(ImageFeatures))


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the mask decoder answers for B images and N spatial prompts.

    Attributes:
        class_logits: (B, N, C + 1), the background column last.
        mask_logits: (B, N, h, w), at the decoder's own stride over the canvas.
        canvas: height and width of the padded input, pixels.
        image_sizes: height and width of each image on the canvas, pixels.
        upsampling: how the model brings its masks up to the canvas.
        mask_stride: 0, or what `mask_logits` and the one map of `evidence` hold of what is on the canvas: of every so
            many pixels each way the middle one (tasks/sampling.py).
        evidence: what pixel prompts find in the images; none without pixel prompts.
    """

    class_logits: Tensor
    mask_logits: Tensor
    canvas: Size
    image_sizes: tuple[Size, ...]
    upsampling: Upsampling = "bilinear"
    mask_stride: int = 0
    evidence: Evidence | None = None

    def split(self) -> list["Prediction"]:
        """One prediction (B = 1) per image.

        Losses go through the images this way: the gradient of a split is one concatenation, that of
        B indexings is B buffers of the full size.
        """
        rows = zip(torch.split(self.class_logits, 1), torch.split(self.mask_logits, 1), self.image_sizes, strict=True)
        return [
            replace(
                self,
                class_logits=classes,
                mask_logits=masks,
                image_sizes=(size,),
                evidence=None if self.evidence is None else self.evidence.image(index),
            )
            for index, (classes, masks, size) in enumerate(rows)
        ]


class PromptableSegmenter(Protocol):
    """A frozen segmenter that is told what to find by prompts in embedding space.

    No parameter of it ever requires a gradient. `decode` is differentiable with respect to the
    tensors of its prompts, and to nothing else.
    """

    @property
    def id(self) -> str:
        """Name in the registry, or the folder it was loaded from, with the options that say how it is used."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names, shapes and values of the weights."""

    @property
    def licence(self) -> str:
        """Licence of the weights, as far as it is known."""

    def input_size(self, size: Size, short_side: int | None = None) -> Size:
        """What an image of `size` is resized to before it is encoded.

        Args:
            size: height and width of the image.
            short_side: what the user says; None leaves it to the model.

        Raises:
            PromptsegError: `short_side` is given to a model of fixed input.
        """

    @property
    def resampling(self) -> Resampling:
        """How an image is resized to it."""

    @property
    def prompt_spec(self) -> PromptSpec:
        """The kinds of prompts it takes."""

    @property
    def spatial_choices(self) -> tuple[str, ...]:
        """Its own spatial prompts by name, those used unless the user says otherwise first."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def features_type(self) -> type[ImageFeatures]:
        """What `encode_image` gives, for whoever reads features back from files."""

    def parameter_tensors(self) -> dict[str, Tensor]:
        """All weights by official name (the live tensors, not copies)."""

    def encode_image(self, images: Sequence[Tensor] | Tensor) -> ImageFeatures:
        """Features of B images, computed without gradient.

        Args:
            images: B tensors (3, H, W), RGB, 0..255, any dtype; sizes may differ, they are padded
                to one canvas.
        """

    def encode_text(self, names: Sequence[str], templates: str | None = None) -> Tensor:
        """Default semantic prompts (C, D) of class names, computed without gradient.

        Args:
            names: C class names.
            templates: `photo` ("a photo of a {}."), `official` (the list published with CLIP) or `raw`; None leaves
                it to the model.
        """

    def default_text_prompts(self, names: Sequence[str], templates: str | None = None) -> dict[str, Tensor]:
        """All kinds that come from texts: classes, the void column of the class logits, and what is fixed with them.

        Args:
            names: C class names.
            templates: as in `encode_text`.
        """

    def default_spatial_prompts(self, choice: str | None = None) -> dict[str, Tensor]:
        """The kinds of one of `spatial_choices`, each (N, D); None: of the first."""

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Prediction:
        """Masks and their classes; tensors of `features` and `prompts` on the model's device."""

    def decode_all(self, features: ImageFeatures, prompts: Prompts) -> list[Prediction]:
        """The answers of all heads of a decoder that refines its answer in steps, that of `decode` last."""


def named(model: PromptableSegmenter) -> dict[str, str]:
    """What a record knows a model by: its weights, and its id, as one network may be used in several ways."""
    return {"id": model.id, "fingerprint": model.fingerprint}
