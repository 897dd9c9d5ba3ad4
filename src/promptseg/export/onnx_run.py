"""Label photos with the graph beside this file; needs onnxruntime, numpy and Pillow, and nothing else.

python run.py OUT PHOTO [PHOTO ...]    label maps OUT/NAME.png, whose values are the class ids
python run.py --check                  compare the graph with the answer that was stored with it
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
LONGEST = 4
SIZES = ("short_side", "own_short_side", "most_enlarged", "divisor", "fixed_canvas")
"""Whole numbers of `about.json`, the first and the last of which may be null."""
LARGEST = 4096


@cache
def about() -> dict[str, Any]:
    """What the export says of the graph: its classes, sizes and padding."""
    content: dict[str, Any] = json.loads((HERE / "about.json").read_text(encoding="utf-8"))
    for name in SIZES:
        value = content[name]
        if not is_whole(value, 1, LARGEST) and not (value is None and name in (SIZES[0], SIZES[-1])):
            raise ValueError(f"{name} is {value!r}"[:100])
    if type(content["stretched"]) is not bool or (content["stretched"] and content["fixed_canvas"] is None):
        raise ValueError(f"stretched is {content['stretched']!r}"[:100])
    if np.array(content["padding"], np.float32).shape != (3,) or not np.isfinite(content["padding"]).all():
        raise ValueError("padding is not three numbers")
    for entry in content["classes"]:
        if len(entry["color"]) != 3 or not all(is_whole(value, 0, 255) for value in entry["color"]):
            raise ValueError("a color is not three numbers from 0 to 255")
    return content


def is_whole(value: Any, low: int, high: int) -> bool:
    """Whether a value is a whole number within bounds."""
    return type(value) is int and low <= value <= high


def input_size(height: int, width: int) -> tuple[int, int]:
    """What a photo is resized to: its shorter side as the model wants it, halves rounded up; or the whole canvas."""
    if about()["stretched"]:
        return about()["fixed_canvas"], about()["fixed_canvas"]
    of = min(height, width)
    side = about()["short_side"] or min(about()["own_short_side"], about()["most_enlarged"] * of)
    if max(height, width) > LONGEST * of:
        side, of = LONGEST * side, max(height, width)
    largest = about()["fixed_canvas"]
    if largest and max(height, width) * side > largest * of:
        side, of = largest, max(height, width)
    return max(1, int(height * side / of + 0.5)), max(1, int(width * side / of + 0.5))


def label(session: Any, photo: Image.Image) -> NDArray[np.uint8]:
    """The class of every pixel of a photo, (H, W) uint8."""
    height, width = input_size(photo.height, photo.width)
    divisor = about()["divisor"]
    canvas = [-(-side // divisor) * divisor for side in (height, width)]
    pixels = np.tile(np.array(about()["padding"], np.float32)[:, None, None], (1, *canvas))
    resized = photo.resize((width, height), Image.Resampling[about()["resampling"].upper()])
    pixels[:, :height, :width] = np.asarray(resized, np.float32).transpose(2, 0, 1)
    scores = session.run(["scores"], {"pixels": pixels[None]})[0][0, :, :height, :width]
    best = np.full((photo.height, photo.width), -np.inf, np.float32)
    labels = np.zeros((photo.height, photo.width), np.uint8)
    for number, score in enumerate(scores):
        large = np.asarray(Image.fromarray(score).resize(photo.size, Image.Resampling.BICUBIC))
        labels[large > best] = number
        best = np.maximum(best, large)
    return labels


def check(session: Any) -> None:
    """Print how far the graph is from the stored answer."""
    example = np.load(HERE / "example.npz")
    scores = session.run(["scores"], {"pixels": example["pixels"].astype(np.float32)})[0]
    agree = (scores.argmax(1) == example["scores"].argmax(1)).mean()
    print(f"largest difference {np.abs(scores - example['scores']).max():.2g}, same class {100 * agree:.3f} %")


def broken(path: Path, error: Exception, mend: str) -> NoReturn:
    """End with a line about a file that cannot be used."""
    sys.exit(f"{path}: cannot be used ({type(error).__name__}: {' '.join(str(error).split())[:200]}); {mend}")


def open_graph() -> Any:
    """The graph, and `about.json` checked."""
    try:
        about()
    except Exception as error:
        broken(HERE / "about.json", error, "export the graph again")
    try:
        return onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=onnxruntime.get_available_providers())
    except Exception as error:  # it has kinds of its own for each fault
        broken(HERE / "model.onnx", error, "export the graph again")


def read(path: Path) -> Image.Image:
    """A photo as RGB, the way up its EXIF says: 16 bits scaled to 8, what is transparent laid over white."""
    photo = ImageOps.exif_transpose(Image.open(path))
    if photo.mode.startswith("I"):
        photo = Image.fromarray(((np.asarray(photo).astype(np.int64) + 128) // 257).clip(0, 255).astype(np.uint8))
    elif photo.has_transparency_data:
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo.convert("RGBA"))
    return photo.convert("RGB")


def main() -> None:
    """Label the photos."""
    session = open_graph()
    if sys.argv[1:] == ["--check"]:
        try:
            check(session)
        except Exception as error:
            broken(HERE / "example.npz", error, "export the graph again")
        return
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, paths = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    if len({path.stem for path in paths}) < len(paths):
        sys.exit("two photos have the same name, and so would their label maps: label them into two folders")
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        try:
            photo = read(path)
        except Exception as error:  # of many kinds
            broken(path, error, "give it as a JPEG or PNG, or leave it out")
        try:
            image = Image.fromarray(label(session, photo))
        except Exception as error:
            broken(HERE, error, f"export the graph again, or leave out {path}")
        image.putpalette([value for entry in about()["classes"] for value in entry["color"]])
        image.save(out / f"{path.stem}.png")
        print(out / f"{path.stem}.png")


if __name__ == "__main__":
    main()
