"""Memory and time of `promptseg predict` and `evaluate` by the size of the photo, each in a process of its own.

    python benchmarks/large_photos.py --task semantic --model seem-lite
    python benchmarks/large_photos.py --kind raster --tile 1024 --megapixels 100

Photos are scenes of the drawn streets, enlarged; rasters are GeoTIFF files full of such scenes, whose label maps are
written too. Memory is the peak of the process above that with the loaded model.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZES = {0.3: (480, 640), 3: (1500, 2000), 12: (3000, 4000), 48: (6000, 8000), 100: (10_000, 10_000)}
"""Height and width by megapixels."""


def measured(kind: str, task: str, megapixels: float, name: str, tile: int | None) -> dict[str, float]:
    """One photo in this process: seconds, and megabytes above the loaded model."""
    import numpy as np
    import torch
    from PIL import Image

    import promptseg
    from promptseg.cli.main import run
    from promptseg.data.images import resize_image, resize_labels
    from promptseg.data.rasters import RasterPixels, write_raster
    from promptseg.data.sample import PanopticLabels
    from promptseg.engine.defaults import default_prompts
    from promptseg.features.memory import PeakMemory

    torch.set_num_threads(1)
    scene = promptseg.load_dataset("streets:clear").val[0]
    model = promptseg.load_model(name, device="cpu")
    prompts, size = default_prompts(model, scene.label_space), SIZES[megapixels]
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / ("photo.tif" if kind == "raster" else "photo.jpg")
        if kind == "raster":
            write_scenes(photo, scene.image(), size)
        else:
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
                promptseg.evaluate(model, prompts, [sample], task, tile=tile)
            case "raster":
                labels = promptseg.predict(model, prompts, photo, "semantic", tile=tile)
                write_raster(Path(folder) / "labels.tif", labels, RasterPixels(photo).place, scene.label_space.colors)
            case "command":
                arguments = ["predict", str(photo), "--prompts", f"{folder}/prompts", "--out", f"{folder}/out"]
                del model
                arguments += [] if tile is None else ["--tile", str(tile)]
                assert run([*arguments, "--task", task, "--model", name, "--threads", "1"]) == 0
            case _:
                answer = promptseg.predict(model, prompts, photo, task, tile=tile)
                del answer
        seconds = time.perf_counter() - began
        peak = meter.read() or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert np.isfinite(seconds)
    return {"seconds": round(seconds, 2), "megabytes": round((peak - before) / 1e6)}


def write_scenes(path: Path, scene: "NDArray[np.uint8]", size: tuple[int, int]) -> None:
    """A GeoTIFF of a size (H, W) that shows the scene again and again, a row of scenes at a time."""
    import numpy as np
    import rasterio

    height, width = size
    about = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8", "tiled": True}
    about |= {"crs": "EPSG:32633", "transform": rasterio.Affine(0.2, 0, 400_000, 0, -0.2, 5_800_000)}
    row = np.tile(scene, (1, -(-width // scene.shape[1]), 1))[:, :width]
    with rasterio.open(path, "w", photometric="RGB", **about) as raster:
        for top in range(0, height, len(row)):
            part = np.moveaxis(row[: height - top], -1, 0)
            raster.write(part, window=((top, top + part.shape[1]), (0, width)))


def main() -> None:
    """Print a table, or what one process measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="semantic")
    parser.add_argument("--model", default="seem-lite")
    parser.add_argument("--kind", default="predict", choices=("predict", "evaluate", "command", "raster"))
    parser.add_argument("--tile", type=int, help="see photos in tiles of so many pixels")
    parser.add_argument("--megapixels", type=float, nargs="*", choices=list(SIZES), default=[0.3, 3, 12, 48])
    parser.add_argument("--here", action="store_true", help="measure in this process, and print JSON")
    given = parser.parse_args()
    if given.here:
        print(json.dumps(measured(given.kind, given.task, given.megapixels[0], given.model, given.tile)))
        return
    print(f"{given.kind}, {given.task}, {given.model}, one thread\nmegapixels  seconds  MB above the model")
    for megapixels in given.megapixels:
        command = [sys.executable, __file__, "--here", "--task", given.task, "--model", given.model]
        command += [] if given.tile is None else ["--tile", str(given.tile)]
        command += ["--kind", given.kind, "--megapixels", str(megapixels)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(output.strip().splitlines()[-1])
        print(f"{megapixels:10g} {found['seconds']:8.2f} {found['megabytes']:10d}", flush=True)


if __name__ == "__main__":
    main()
