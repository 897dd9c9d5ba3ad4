"""Crops and looks of training scenes, on the training device: one street, many photographs of it.

A model that has seen one renderer only knows that renderer. So most scenes get, each with a chance of its own: other
colours and textures for some of their segments, uneven light, another white balance, gamma, contrast or no colour at
all, blur, a lower resolution, and noise. Nothing here imitates fog, rain, snow or night: those stay unseen in training.
"""

from dataclasses import dataclass

import torch
from base_scenes import SEGMENTS, Scenes
from torch import Tensor
from torch.nn import functional as F

from promptseg.label_space import IGNORE
from promptseg.tasks.matched_loss import Segments

MASK_STRIDE = 4
"""The stride of the decoder's masks: targets are averaged over cells of that many pixels."""
SMALLEST_SEGMENT = 64
"""Segments of fewer pixels are left out of the matching (they stay in the semantic loss)."""
MOST_SEGMENTS = 64
"""The largest segments of an image that take part in the matching."""
ZOOM = (0.5, 1.1)
"""Height of a crop, as a share of the scene's; what lies beyond the scene is mirrored."""
TURN = 0.07
"""A crop is turned by up to that many radians."""
PLAIN = 0.25
"""Share of scenes that keep the renderer's look but for slight changes of colour."""


@dataclass(frozen=True)
class Examples:
    """B training images: pixels (B, 3, h, w) 0..255, labels (B, h, w) uint8, and segments at `MASK_STRIDE`."""

    pixels: Tensor
    labels: Tensor
    segments: list[Segments]


def examples(scenes: Scenes, size: tuple[int, int], random: torch.Generator) -> Examples:
    """Crop scenes to `size`, mirror half of them, and change their looks; `random` is a generator on the CPU."""
    images, numbers = _crops(scenes, size, random)
    labels = scenes.classes.gather(1, numbers.flatten(1)).view_as(numbers)
    pixels = looks(images / 255, numbers, random) * 255
    return Examples(pixels, labels, _segments(numbers, scenes.classes))


def _crops(scenes: Scenes, size: tuple[int, int], random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (B, 3, h, w) float32 and segment numbers (B, h, w) int64 of random windows."""
    count, _, height, width = scenes.images.shape
    share = torch.empty(count).uniform_(*ZOOM, generator=random)
    stretch = torch.empty(count).uniform_(0.85, 1.15, generator=random)
    high, wide = share, share * stretch * (size[1] / size[0]) * (height / width)
    turn = torch.empty(count).uniform_(-TURN, TURN, generator=random)
    mirror = torch.randint(0, 2, (count,), generator=random) * 2.0 - 1
    room = [(1 - side).clamp(min=0) for side in (wide, high)]
    x, y = (torch.empty(count).uniform_(-1, 1, generator=random) * free for free in room)
    slant = height / width  # a turn in pixels, in coordinates from -1 to 1
    theta = torch.stack(
        (
            torch.stack((mirror * wide * turn.cos(), -high * slant * turn.sin(), x), 1),
            torch.stack((mirror * wide / slant * turn.sin(), high * turn.cos(), y), 1),
        ),
        1,
    ).to(scenes.images.device)
    grid = F.affine_grid(theta, [count, 1, *size], align_corners=False)
    images = F.grid_sample(scenes.images.float(), grid, "bilinear", "reflection", align_corners=False)
    numbers = F.grid_sample(scenes.segments[:, None].float(), grid, "nearest", "reflection", align_corners=False)
    return images, numbers[:, 0].round().long()


def looks(images: Tensor, numbers: Tensor, random: torch.Generator) -> Tensor:
    """Other looks of images (B, 3, h, w) in 0..1 with segment numbers (B, h, w)."""
    draw = _Draw(len(images), images.device, random)
    changed = _recoloured(images, numbers, draw)
    changed = _textured(changed, numbers, draw)
    changed = _lit(changed, draw)
    changed = _photographed(changed, draw)
    changed = torch.where(draw.chance(1 - PLAIN), changed, images)
    gain = 1 + 0.1 * draw.uniform(3, low=-1)
    return (changed * gain).clamp(0, 1)


class _Draw:
    """Random numbers for each of B images, from a generator on the CPU so that every device sees the same."""

    def __init__(self, count: int, device: torch.device, random: torch.Generator) -> None:
        self.count, self.device, self._random = count, device, random

    def uniform(self, channels: int = 1, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B, channels, 1, 1) in [low, high)."""
        shape = (self.count, channels, 1, 1)
        return torch.empty(shape).uniform_(low, high, generator=self._random).to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape)."""
        return torch.empty((self.count, *shape)).normal_(generator=self._random).to(self.device)

    def chance(self, share: float) -> Tensor:
        """(B, 1, 1, 1), True with that probability."""
        return self.uniform() < share

    def noise(self, channels: int, size: tuple[int, int], cells: int) -> Tensor:
        """Smooth noise (B, channels, h, w) of deviation about 1, `cells` lumps across the height."""
        grid = self.normal(channels, cells, cells * size[1] // size[0])
        return F.interpolate(grid, size, mode="bicubic", align_corners=False)

    def cells(self, least: int, most: int) -> int:
        """A number of lumps, one for the whole batch; every size is as likely as its half."""
        exponent = torch.empty(()).uniform_(0, 1, generator=self._random).item()
        return round(least * (most / least) ** exponent)


def _recoloured(images: Tensor, numbers: Tensor, draw: _Draw) -> Tensor:
    """Some segments in other colours: their channels scaled and shifted."""
    chosen = (draw.uniform(SEGMENTS)[..., 0] < 0.5) & draw.chance(0.5)[..., 0]
    gain = (0.3 * draw.normal(SEGMENTS, 1) + 0.2 * draw.normal(SEGMENTS, 3)).exp()
    shift = 0.12 * draw.normal(SEGMENTS, 3)
    table = torch.cat((torch.where(chosen, gain, 1.0), torch.where(chosen, shift, 0.0)), 2)
    gain, shift = _by_segment(table, numbers).chunk(2, 1)
    return images * gain + shift


def _textured(images: Tensor, numbers: Tensor, draw: _Draw) -> Tensor:
    """Patterns over some segments: lumps of two sizes, stripes and a checkerboard."""
    size = (images.shape[2], images.shape[3])
    y = torch.arange(size[0], device=images.device)[:, None] / size[0]
    x = torch.arange(size[1], device=images.device) / size[0]
    angle, pitch = draw.uniform(2, 0, 3.1416), draw.uniform(2, 20, 400)
    along, across = (angle.cos() * x + angle.sin() * y) * pitch, (angle.cos() * y - angle.sin() * x) * pitch
    stripes = along[:, :1].sin()
    checker = along[:, 1:].sin().sign() * across[:, 1:].sin().sign()
    lumps = [draw.noise(1, size, draw.cells(*cells)) for cells in ((8, 32), (48, 192))]
    patterns = torch.cat((*lumps, stripes, checker), 1)
    chosen = (draw.uniform(SEGMENTS)[..., 0] < 0.4) & draw.chance(0.5)[..., 0]
    table = torch.where(chosen, draw.normal(SEGMENTS, 4) * draw.uniform(4, 0, 0.16).flatten(1)[:, None], 0.0)
    added = (_by_segment(table, numbers) * patterns).sum(1, keepdim=True)
    return images * (1 + added) + 0.4 * added * draw.uniform(3)


def _lit(images: Tensor, draw: _Draw) -> Tensor:
    """Uneven light, soft or with the edges of shadows."""
    field = draw.noise(1, (images.shape[2], images.shape[3]), draw.cells(2, 10))
    soft = (0.3 * draw.uniform() * field).exp()
    shadow = 1 - draw.uniform(1, 0.2, 0.6) * (field > 0.6)
    light = torch.where(draw.chance(0.7), soft, shadow)
    return torch.where(draw.chance(0.5), images * light, images)


def _photographed(images: Tensor, draw: _Draw) -> Tensor:
    """Colours mixed, gamma, contrast, no colour, blur, a lower resolution and noise."""
    mix = torch.eye(3, device=images.device) + 0.1 * draw.normal(3, 3)
    images = torch.einsum("bij,bjhw->bihw", mix, images)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * torch.where(draw.chance(0.1), 0.0, draw.uniform(1, 0.4, 1.4))
    images = images.clamp(1e-3, 1) ** (0.35 * draw.normal(1, 1, 1)).exp()
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * draw.uniform(1, 0.55, 1.35) + mean * draw.uniform(1, 0.7, 1.25)
    images = torch.where(draw.chance(0.35), _blurred(images, draw.uniform(1, 0.4, 2.5)), images)
    size = (images.shape[2], images.shape[3])
    low = F.interpolate(images, scale_factor=1 / draw.cells(2, 4), mode="area")
    images = torch.where(draw.chance(0.2), F.interpolate(low, size, mode="bilinear", align_corners=False), images)
    # Grain needs a number for every pixel: made on the device, from a seed that the generator gives.
    grain = torch.Generator(images.device).manual_seed(int(draw.uniform()[0].item() * 2**24))
    noise = torch.randn(images.shape, generator=grain, device=images.device)
    noise = torch.where(draw.chance(0.5), noise, noise.mean(1, keepdim=True))
    return images + torch.where(draw.chance(0.5), draw.uniform(1, 0.005, 0.07), 0.0) * noise


def _blurred(images: Tensor, deviation: Tensor) -> Tensor:
    """A Gaussian blur of its own `deviation` (B, 1, 1, 1), pixels, for each image."""
    count, channels, height, width = images.shape
    steps = torch.arange(-5, 6, device=images.device)
    kernel = (-0.5 * (steps / deviation.flatten(1)) ** 2).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    rows = F.pad(images, (5, 5, 5, 5), mode="reflect").view(1, count * channels, height + 10, width + 10)
    rows = F.conv2d(rows, kernel[:, None, :, None], groups=count * channels)
    return F.conv2d(rows, kernel[:, None, None], groups=count * channels).view_as(images)


def _by_segment(table: Tensor, numbers: Tensor) -> Tensor:
    """Entries (B, K, h, w) of a table (B, SEGMENTS, K) at every pixel's segment number (B, h, w)."""
    rows = table.gather(1, numbers.flatten(1)[..., None].expand(-1, -1, table.shape[2]))
    return rows.mT.reshape(len(table), -1, *numbers.shape[1:])


def _segments(numbers: Tensor, classes: Tensor) -> list[Segments]:
    """The labelled segments of each image, masks averaged down to `MASK_STRIDE`."""
    counts = torch.zeros(classes.shape, device=numbers.device)
    counts.scatter_add_(1, numbers.flatten(1), torch.ones((), device=numbers.device).expand(numbers.flatten(1).shape))
    counts = torch.where(classes == IGNORE, 0.0, counts)
    found = []
    for one, kinds, pixels in zip(numbers, classes, counts.cpu(), strict=True):
        kept = torch.argsort(pixels, descending=True)[: min(MOST_SEGMENTS, int((pixels >= SMALLEST_SEGMENT).sum()))]
        kept = kept.to(one.device)
        masks = F.avg_pool2d((one == kept[:, None, None]).float()[None], MASK_STRIDE)[0].flatten(1)
        found.append(Segments(kinds[kept].long(), masks))
    return found
