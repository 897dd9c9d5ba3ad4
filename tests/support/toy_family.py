"""A model family in one file, as another package would write it: colours as features, and a mask for each colour.

Each spatial prompt is a colour, and its mask is where the photo is like it; each class name is a fixed random vector,
and a mask is of the class whose vector is most like the mask's own.
"""

from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import torch
from torch.nn import functional as F

from promptseg.models.base import ImageFeatures, Prediction
from promptseg.models.family import Family, ModelEntry
from promptseg.models.images import image_sizes, normalised
from promptseg.prompts import PromptKind
from promptseg.tensor_files import fingerprint

COLORS, WORDS = 8, 6


@dataclass(frozen=True, eq=False)
class ToyFeatures(ImageFeatures):
    pixels: torch.Tensor


class Toy:
    licence, spatial_choices, features_type = "Apache-2.0", ("colors",), ToyFeatures
    resampling = "bilinear"
    prompt_spec = (
        PromptKind("spatial", "mask", 3, most=COLORS),
        PromptKind("semantic", "class", WORDS),
        PromptKind("background", "void", WORDS),
    )

    def __init__(self, model_id, device):
        generator = torch.Generator().manual_seed(0)
        self.id, self.device = model_id, device
        self.colors = torch.rand(COLORS, 3, generator=generator).to(device)
        self.vectors = torch.randn(COLORS, WORDS, generator=generator).to(device)

    def parameter_tensors(self):
        return {"colors": self.colors, "vectors": self.vectors}

    @property
    def fingerprint(self):
        return fingerprint(self.parameter_tensors().items())

    def input_size(self, size, short_side=None):
        return 32, 48

    def encode_image(self, images):
        sizes = image_sizes(images)
        canvas = tuple(max(sides) for sides in zip(*sizes, strict=True))
        pixels = [normalised(image.to(self.device, torch.float32), (0,) * 3, (255,) * 3, canvas) for image in images]
        return ToyFeatures(canvas, sizes, torch.stack(pixels))

    def encode_text(self, names, templates=None):
        rows = [torch.randn(WORDS, generator=torch.Generator().manual_seed(crc32(name.encode()))) for name in names]
        return torch.stack(rows).to(self.device)

    def default_text_prompts(self, names, templates=None):
        background = torch.zeros(1, WORDS, device=self.device)
        return {"semantic": self.encode_text(names, templates), "background": background}

    def default_spatial_prompts(self, choice=None):
        return {"spatial": self.colors.clone()}

    def decode(self, features, prompts):
        prompts.check(self.prompt_spec, self.id)
        spatial = prompts.kinds["spatial"]
        distance = (features.pixels[:, None] - spatial[None, :, :, None, None]).square().sum(2)
        text = F.normalize(torch.cat((prompts.kinds["semantic"], prompts.kinds["background"])), dim=1)
        classes = (self.vectors[: len(spatial)] @ text.T).expand(len(features), -1, -1)
        return Prediction(classes, 1 - 4 * distance, features.canvas, features.image_sizes)

    def decode_all(self, features, prompts):
        return [self.decode(features, prompts)]


class ToyFamily(Family):
    folders = "toy is true"
    entries = (
        ModelEntry("toy-colors", 72, "made up", "Apache-2.0", "Apache-2.0", folder=lambda: Path(__file__).parent),
    )

    def recognises(self, config):
        return config.get("toy") is True

    def load(self, source, device):
        return Toy(source.spec.text, device)


FAMILY = ToyFamily()
