"""What the size of the input is worth: zero-shot mIoU of a model on generated streets, by shorter side.

    python benchmarks/input_size.py [--model seem-lite] [--sides 128 192 256 320 384] [--images 12]

Scenes are those of no data set and no training step, 128 x 256 pixels; processor seconds are of encoding and decoding.
"""

import argparse
import time

import torch

import promptseg
from promptseg.data.formats.cityscapes import CITYSCAPES_19
from promptseg.data.streets.scene import generate_scene
from promptseg.data.streets.weather import CONDITIONS
from promptseg.engine.defaults import default_prompts
from promptseg.features.encode import image_tensor
from promptseg.tasks.label_maps import label_map
from promptseg.tasks.semantic import SemanticTask


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="seem-lite")
    parser.add_argument("--sides", nargs="+", type=int, default=[128, 192, 256, 320, 384])
    parser.add_argument("--images", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = promptseg.load_model(args.model, device="cpu")
    prompts = default_prompts(model, CITYSCAPES_19)
    for condition in CONDITIONS:
        scenes = [generate_scene(condition, f"held-out:{100 + number}") for number in range(args.images)]
        for side in args.sides:
            metric, seconds = SemanticTask().metric(CITYSCAPES_19), 0.0
            for scene in scenes:
                pixels = image_tensor(model, scene.image, side)
                began = time.process_time()
                prediction = model.decode(model.encode_image([pixels]), prompts)
                seconds += time.process_time() - began
                metric.count(scene.semantic, label_map(prediction, 0, scene.semantic.shape))
            miou = metric.compute().values["miou"] or 0.0
            print(f"{condition:<6} {side:4} {100 * miou:5.1f} mIoU {seconds / len(scenes):.2f} s", flush=True)


if __name__ == "__main__":
    main()
