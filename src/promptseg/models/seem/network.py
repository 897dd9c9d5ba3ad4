"""The whole network, under the parameter names of the official checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.errors import PromptsegError
from promptseg.models.seem.backbone import build_backbone
from promptseg.models.seem.config import BUFFERS, LEVELS, SeemConfig
from promptseg.models.seem.decoder import Head, SeemDecoder, mask_logits
from promptseg.models.seem.deformable import DeformablePixelDecoder
from promptseg.models.seem.pixel_decoder import PixelDecoder, PixelFeatures
from promptseg.models.seem.text import TextEncoder, normalise

_VOID_WEIGHT = 0.1
_PIXEL_DECODERS = {"fpn": PixelDecoder, "deformable": DeformablePixelDecoder}


@dataclass(frozen=True)
class HeadStates:
    """What one prediction head knows of B images and N queries before it hears of classes.

    Attributes:
        captions: (B, N, D_text), of length 1.
        mask_logits: (B, N, h, w), at stride 4 of the canvas.
    """

    captions: Tensor
    mask_logits: Tensor


@dataclass(frozen=True)
class HeadOutputs:
    """What one prediction head says of B images and N queries.

    Attributes:
        class_logits: (B, N, K).
        mask_logits: (B, N, h, w), at stride 4 of the canvas.
    """

    class_logits: Tensor
    mask_logits: Tensor


class SegmentationHead(nn.Module):
    """Pixel decoder and decoder, as the checkpoint nests them."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        self.pixel_decoder = _PIXEL_DECODERS[config.pixel_decoder](config)
        self.predictor = SeemDecoder(config)


class Criterion(nn.Module):
    """Holds the class weights of the official training loss, which the checkpoint carries along."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        weights = torch.tensor([1.0] * classes + [_VOID_WEIGHT], device=BUFFERS)
        self.register_buffer("empty_weight", weights)


class SeemNetwork(nn.Module):
    """Backbone, pixel decoder, text encoder and decoder."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        self.config = config
        if config.family == "x-decoder":
            # For image-text retrieval, which is not offered here.
            self.backbone_proj = nn.Parameter(torch.zeros(config.backbone.dims[-1], config.text_dim))
        else:
            self.register_buffer("dilation_kernel", torch.ones(1, 1, 3, 3, device=BUFFERS))
        self.backbone = build_backbone(config.backbone)
        self.sem_seg_head = SegmentationHead(config)
        if config.prompting != "shared":
            self.criterion = Criterion(config.num_classes)

    @property
    def decoder(self) -> SeemDecoder:
        """The decoder, with the learned queries."""
        return self.sem_seg_head.predictor

    @property
    def text(self) -> TextEncoder:
        """The text encoder."""
        return self.decoder.lang_encoder

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Everything the decoder needs of a batch.

        Args:
            images: (B, 3, H, W), normalised and padded to multiples of the size divisor.

        Returns:
            `mask_features` (B, M, H / 4, W / 4); `level_0..2` (B, D, h, w) at strides 32, 16, 8;
            `shrunk_0..2` (B, M, h, w), the mask features resized to those levels.

        Raises:
            PromptsegError: height or width is not a multiple of the size divisor.
        """
        height, width = images.shape[2:]
        divisor = self.config.size_divisor
        if height % divisor or width % divisor:
            raise PromptsegError(f"image batch of {height} x {width}: pad both sides to multiples of {divisor}")
        antialias = self.config.family == "x-decoder"
        return decoder_features(self.sem_seg_head.pixel_decoder(self.backbone(images)), antialias)

    def decode(self, features: Mapping[str, Tensor], queries: Tensor, positions: Tensor, text: Tensor) -> HeadOutputs:
        """Masks and classes of object queries, from the last head.

        Args:
            features: as `encode` gives them.
            queries: (N, D) or (B, N, D), start states.
            positions: (N, D) or (B, N, D), position terms.
            text: (K, D_text), class embeddings.
        """
        return self.classify(self.states(features, queries, positions, all_heads=False)[-1], text)

    def decode_all(
        self, features: Mapping[str, Tensor], queries: Tensor, positions: Tensor, text: Tensor
    ) -> list[HeadOutputs]:
        """As `decode`, from every head: before the first layer, and after each."""
        return [self.classify(head, text) for head in self.states(features, queries, positions)]

    def states(
        self, features: Mapping[str, Tensor], queries: Tensor, positions: Tensor, all_heads: bool = True
    ) -> list[HeadStates]:
        """What every head, or the last one alone, knows before it hears of classes; arguments as for `decode`."""
        rows = self.decoder.object_rows(queries, positions, len(features["mask_features"]))
        heads = self.decoder(rows, features, all_heads)
        return [self._states(head, features["mask_features"]) for head in (heads if all_heads else heads[-1:])]

    def classify(self, states: HeadStates, text: Tensor) -> HeadOutputs:
        """The answer to the class embeddings `text` (K, D_text)."""
        return HeadOutputs(self.decoder.compare(states.captions, text), states.mask_logits)

    def _states(self, head: Head, mask_features: Tensor) -> HeadStates:
        return HeadStates(normalise(self.decoder.captions(head)), mask_logits(head.mask_vectors, mask_features))


def decoder_features(pixels: PixelFeatures, antialias: bool = False) -> dict[str, Tensor]:
    """Name the pixel decoder's maps, with the mask features resized to each level.

    The resize is linear, so a mask logit resized to a level is the product of the mask vector with
    these resized features, up to rounding.

    Args:
        pixels: the maps.
        antialias: resize bicubically with antialias, not bilinearly without.
    """
    mode = "bicubic" if antialias else "bilinear"
    features = {"mask_features": pixels.mask_features}
    for i in range(LEVELS):
        features[f"level_{i}"] = pixels.levels[i]
        features[f"shrunk_{i}"] = functional.interpolate(
            pixels.mask_features, size=pixels.levels[i].shape[2:], mode=mode, align_corners=False, antialias=antialias
        )
    return features
