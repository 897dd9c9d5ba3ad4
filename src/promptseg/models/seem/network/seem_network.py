"""The whole network, under the parameter names of the official checkpoints."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.errors import PromptsegError
from promptseg.models.base import Size
from promptseg.models.seem.backbones.common import STAGES
from promptseg.models.seem.config import BUFFERS, SeemConfig
from promptseg.models.seem.network.decoder import Head, SeemDecoder, mask_logits
from promptseg.models.seem.network.features import (
    DecoderStates,
    PreparedFeatures,
    SeemFeatures,
    SeemFeaturesWithBackbone,
)
from promptseg.models.seem.network.pixel_decoders import DeformablePixelDecoder, FpnPixelDecoder, PixelFeatures
from promptseg.models.seem.network.text_encoder import TextEncoder, normalise

_VOID_WEIGHT = 0.1
_PIXEL_DECODERS = {"fpn": FpnPixelDecoder, "deformable": DeformablePixelDecoder}


@dataclass(frozen=True, eq=False)
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
        if config.variant.captioner:
            # For image-text retrieval, which is not offered here.
            self.backbone_proj = nn.Parameter(torch.zeros(config.backbone.channels[-1], config.text_dim))
        else:
            self.register_buffer("dilation_kernel", torch.ones(1, 1, 3, 3, device=BUFFERS))
        self.backbone = config.backbone.build()
        self.sem_seg_head = SegmentationHead(config)
        if config.variant.training_weights:
            self.criterion = Criterion(config.num_classes)

    @property
    def decoder(self) -> SeemDecoder:
        """The decoder, with the learned queries."""
        return self.sem_seg_head.predictor

    @property
    def text(self) -> TextEncoder:
        """The text encoder."""
        return self.decoder.lang_encoder

    def encode(
        self, images: Tensor, image_sizes: tuple[Size, ...] | None = None, keep_backbone: bool = False
    ) -> SeemFeatures:
        """Everything the decoder needs of a batch.

        Args:
            images: (B, 3, H, W), normalised and padded to multiples of the size divisor.
            image_sizes: height and width of each image before the padding; None: there is none.
            keep_backbone: give `SeemFeaturesWithBackbone`.

        Raises:
            PromptsegError: height or width is not a multiple of the size divisor.
        """
        canvas, divisor = (images.shape[2], images.shape[3]), self.config.size_divisor
        if canvas[0] % divisor or canvas[1] % divisor:
            raise PromptsegError(f"image batch of {canvas[0]} x {canvas[1]}: pad both sides to multiples of {divisor}")
        maps = self.backbone(images)
        pixels = self.sem_seg_head.pixel_decoder(maps[-STAGES:])
        features = self.features(pixels, canvas, image_sizes or (canvas,) * len(images))
        return SeemFeaturesWithBackbone(**vars(features), backbone=tuple(maps)) if keep_backbone else features

    def features(self, pixels: PixelFeatures, canvas: Size, image_sizes: tuple[Size, ...]) -> SeemFeatures:
        """The pixel decoder's maps, with the mask features resized to each level."""
        # The resize is linear, so a mask logit resized to a level is the product of the mask vector with these
        # resized mask features, up to rounding.
        mode = self.config.variant.upsampling
        shrunk = [
            functional.interpolate(
                pixels.mask_features, level.shape[2:], mode=mode, align_corners=False, antialias=mode == "bicubic"
            )
            for level in pixels.levels
        ]
        return SeemFeatures(canvas, image_sizes, pixels.mask_features, tuple(shrunk), pixels.levels)

    def decode(
        self, features: SeemFeatures | PreparedFeatures, queries: Tensor, positions: Tensor, text: Tensor
    ) -> HeadOutputs:
        """Masks and classes of object queries, from the last head.

        Args:
            features: as `encode` gives them, or as the decoder prepares them.
            queries: (N, D) or (B, N, D), start states.
            positions: (N, D) or (B, N, D), position terms.
            text: (K, D_text), class embeddings.
        """
        return self.classify(self.states(features, queries, positions, all_heads=False), text)[-1]

    def decode_all(
        self, features: SeemFeatures | PreparedFeatures, queries: Tensor, positions: Tensor, text: Tensor
    ) -> list[HeadOutputs]:
        """As `decode`, from every head: before the first layer, and after each."""
        return self.classify(self.states(features, queries, positions), text)

    def states(
        self, features: SeemFeatures | PreparedFeatures, queries: Tensor, positions: Tensor, all_heads: bool = True
    ) -> DecoderStates:
        """What every head, or the last one alone, knows before it hears of classes; arguments as for `decode`."""
        # A graph that is traced for any batch knows its number from tensors alone.
        rows = self.decoder.object_rows(queries, positions, features.mask_features.shape[0])
        heads: list[Head] = self.decoder(rows, features, all_heads)
        kept = heads if all_heads else heads[-1:]
        earlier = features.earlier[0] if isinstance(features, PreparedFeatures) and features.earlier else None
        maps = [features.mask_features if earlier is None else earlier] * (len(kept) - 1) + [features.mask_features]
        return DecoderStates(
            features.canvas,
            features.image_sizes,
            captions=tuple(normalise(self.decoder.captions(head)) for head in kept),
            masks=tuple(mask_logits(head.mask_vectors, one) for head, one in zip(kept, maps, strict=True)),
        )

    def classify(self, states: DecoderStates, text: Tensor) -> list[HeadOutputs]:
        """The answers of the heads to the class embeddings `text` (K, D_text)."""
        pairs = zip(states.captions, states.masks, strict=True)
        return [HeadOutputs(self.decoder.compare(captions, text), masks) for captions, masks in pairs]
