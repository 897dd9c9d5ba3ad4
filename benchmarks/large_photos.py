"""Memory and time of `promptseg predict` and `evaluate` by the size of the photo, each in a process of its own.

    python benchmarks/large_photos.py --task semantic --model seem-lite

Photos are scenes of the drawn streets, enlarged. Memory is the peak of the process above that with the loaded model.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

SIZES = {0.3: (480, 640), 3: (1500, 2000), 12: (3000, 4000), 48: (6000, 8000)}
"""Height and width by megapixels."""


def measured(kind: str, task: str, megapixels: float, name: str) -> dict[str, float]:
    """One photo in this process: seconds, and megabytes above the loaded model."""
    import numpy as np
    import torch
    from PIL import Image

    import promptseg
    from promptseg.cli.main import run
    from promptseg.data.images import resize_image, resize_labels
    from promptseg.data.sample import PanopticLabels
    from promptseg.engine.defaults import default_prompts
    from promptseg.features.memory import PeakMemory

    torch.set_num_threads(1)
    scene = promptseg.load_dataset("streets:clear").val[0]
    model = promptseg.load_model(name, device="cpu")
    prompts, size = default_prompts(model, scene.label_space), SIZES[megapixels]
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        Image.fromarray(resize_image(scene.image(), size)).save(photo, quality=90)
        prompts.save(Path(folder) / "prompts")
        model.encode_image([torch.zeros(3, 64, 64)])
        panoptic = scene.panoptic()
        sample = SimpleNamespace(
            id="photo",
            label_space=scene.label_space,
            image=lambda: promptseg.data.images.read_image(photo),
            semantic=lambda: resize_labels(scene.semantic(), size),
            panoptic=lambda: PanopticLabels(resize_labels(panoptic.map, size), panoptic.segments),
        )
        sample.objects = lambda: promptseg.data.sample.ObjectLabels.of(sample.panoptic())
        meter = PeakMemory(model.device)
        before, began = meter.read() or 0, time.perf_counter()
        match kind:
            case "evaluate":
                promptseg.evaluate(model, prompts, [sample], task)
            case "command":
                arguments = ["predict", str(photo), "--prompts", f"{folder}/prompts", "--out", f"{folder}/out"]
                del model
                assert run([*arguments, "--task", task, "--model", name, "--threads", "1"]) == 0
            case _:
                answer = promptseg.predict(model, prompts, photo, task)
                del answer
        seconds = time.perf_counter() - began
        peak = meter.read() or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert np.isfinite(seconds)
    return {"seconds": round(seconds, 2), "megabytes": round((peak - before) / 1e6)}


def main() -> None:
    """Print a table, or what one process measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="semantic")
    parser.add_argument("--model", default="seem-lite")
    parser.add_argument("--kind", default="predict", choices=("predict", "evaluate", "command"))
    parser.add_argument("--megapixels", type=float, nargs="*", default=list(SIZES))
    parser.add_argument("--here", action="store_true", help="measure in this process, and print JSON")
    given = parser.parse_args()
    if given.here:
        print(json.dumps(measured(given.kind, given.task, given.megapixels[0], given.model)))
        return
    print(f"{given.kind}, {given.task}, {given.model}, one thread\nmegapixels  seconds  MB above the model")
    for megapixels in given.megapixels:
        command = [sys.executable, __file__, "--here", "--task", given.task, "--model", given.model]
        command += ["--kind", given.kind, "--megapixels", str(megapixels)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(output.strip().splitlines()[-1])
        print(f"{megapixels:10g} {found['seconds']:8.2f} {found['megabytes']:10d}", flush=True)


if __name__ == "__main__":
    main()
