"""What the image backbones share: how they are described, and parts that work on maps with channels last, (B, H, W, D).

Linear maps and norms need no copy of such a map; a convolution sees the same memory as a
channels-last (B, D, H, W).
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from promptseg.errors import PromptsegError, unknown_name

PIXEL_MEAN = (123.675, 116.280, 103.530)
"""Images come normalised: mean of red, green and blue, for values 0..255."""
PIXEL_STD = (58.395, 57.120, 57.375)
"""Standard deviation of red, green and blue, for values 0..255."""
STAGES = 4
"""Maps that every backbone gives, at `STRIDES`; finer ones may come before them."""
STRIDES = (4, 8, 16, 32)


class BackboneNumbers(ABC):
    """The numbers that shape an image backbone; its subclasses are frozen dataclasses, told apart by `kind`."""

    KINDS: ClassVar[tuple[str, ...]]
    """Values of `kind` that a subclass describes."""
    OFFERED: ClassVar[bool] = False
    """Whether its maps are offered to pixel prompts unless the user says otherwise."""
    kind: str

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Stride and channels of every map that it gives, the finest first."""
        return tuple(zip(STRIDES, self.channels, strict=True))

    @property
    @abstractmethod
    def channels(self) -> tuple[int, ...]:
        """Channels of the four maps."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A network from images (B, 3, H, W) to maps (B, D, h, w).

        The last four, D of `channels`, are those at strides 4 to 32, which the pixel decoder takes.
        """

    @property
    def fixed_canvas(self) -> int | None:
        """Height and width of the only input it takes, pixels; None where multiples of 32 will do."""
        return None

    def check(self, stages: tuple[str, ...] = ()) -> None:
        """Refuse another kind, or fields named in `stages` that have not one entry for each stage."""
        if self.kind not in self.KINDS:
            raise unknown_name("backbone", self.kind, self.KINDS)
        for name in stages:
            values = getattr(self, name)
            if len(values) != STAGES:
                raise PromptsegError(f"{name} {list(values)} has not one entry for each of the {STAGES} stages")


def convolve(convolution: nn.Module, x: Tensor) -> Tensor:
    """Apply a convolution to a map (B, H, W, D)."""
    out: Tensor = convolution(x.permute(0, 3, 1, 2))
    return out.permute(0, 2, 3, 1).contiguous()


class PatchEmbed(nn.Module):
    """A strided convolution, and a norm over channels after or before it."""

    def __init__(
        self, channels: int, dim: int, kernel: int, stride: int, padding: int, norm_first: bool = False
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.proj = nn.Conv2d(channels, dim, kernel, stride, padding)
        self.norm = nn.LayerNorm(channels if norm_first else dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, channels) to (B, H / stride, W / stride, dim)."""
        if self.norm_first:
            return convolve(self.proj, self.norm(x))
        out: Tensor = self.norm(convolve(self.proj, x))
        return out


class Mlp(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same shape."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


def to_windows(x: Tensor, side: int) -> Tensor:
    """Cut a map (B, H, W, D) into windows (B * n, side, side, D), padded with 0 at right and bottom."""
    height, width = x.shape[1:3]
    x = functional.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    windows: Tensor = x.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3).flatten(0, 2)
    return windows


def from_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """The map (B, height, width, D) whose windows (B * n, side, side, D) these are, without its padding."""
    side = windows.shape[1]
    # Quotients of positive numbers: ONNX rounds those of negative ones to the other side.
    rows, columns = (height + side - 1) // side, (width + side - 1) // side
    x: Tensor = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return x[:, :height, :width]


def start_linear_(module: nn.Module) -> None:
    """Start every linear map inside `module` from small weights and zero bias."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
