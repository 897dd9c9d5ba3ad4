"""Write what the embedded model's features are like on what it was trained on: statistics.json in its folder.

python tools/base_statistics.py [--folder FOLDER]
python tools/base_statistics.py --of SPEC ...    # write nothing: how far training images of some data are from it
"""

import argparse
from pathlib import Path

import torch

import promptseg
from promptseg.assets import LITE_FOLDER
from promptseg.data.streets.scene import generate_scene
from promptseg.features.encode import image_tensor
from promptseg.files import write_json
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.models.seem.training import STATISTICS_FILE, measured_statistics
from promptseg.typed_json import to_json

SCENES = 32
"""Clear-day streets of a seed that no training step and no data set has."""
LOOKS = 16
"""Training images of a data set, evenly spaced."""


def main() -> None:
    """Measure, then write or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=LITE_FOLDER)
    parser.add_argument("--of", nargs="+", metavar="SPEC")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = promptseg.load_model(args.folder, device="cpu")
    assert isinstance(model, SeemSegmenter)
    if args.of is None:
        scenes = (generate_scene("clear", f"base-statistics:{number}").image for number in range(SCENES))
        features = [model.encode_image([image_tensor(model, scene)]) for scene in scenes]
        write_json(args.folder / STATISTICS_FILE, to_json(measured_statistics(features)))
        return
    assert model.statistics is not None, "written by a run without --of"
    for spec in args.of:
        samples = promptseg.load_dataset(spec).train
        images = [samples[number * len(samples) // LOOKS].image() for number in range(LOOKS)]
        features = [model.encode_image([image_tensor(model, image)]) for image in images]
        print(f"{model.statistics.distance(features):.2f} {spec}", flush=True)


if __name__ == "__main__":
    main()
