"""Write what the embedded model's features are like on what it was trained on: statistics.json in its folder.

    python tools/base_statistics.py [FOLDER]

`fit` holds the shots against it, and says so where they are far from it.
"""

import sys
from pathlib import Path

import torch

from promptseg.assets import LITE_FOLDER
from promptseg.data.streets.scene import generate_scene
from promptseg.features.encode import image_tensor
from promptseg.files import write_json
from promptseg.models.registry import load_model
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.models.seem.training import STATISTICS_FILE, measured_statistics
from promptseg.typed_json import to_json

SCENES = 32
"""Of a seed that no training step and no data set has."""


def main(folder: Path) -> None:
    """Encode clear-day streets and write the file."""
    torch.set_num_threads(1)
    model = load_model(folder, device="cpu")
    assert isinstance(model, SeemSegmenter)
    scenes = (generate_scene("clear", f"base-statistics:{number}").image for number in range(SCENES))
    features = [model.encode_image([image_tensor(model, scene)]) for scene in scenes]
    write_json(folder / STATISTICS_FILE, to_json(measured_statistics(features)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else LITE_FOLDER)
