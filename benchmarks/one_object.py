"""How well one object is found by what points at it or names it: mean IoU per kind of prompt.

    python benchmarks/one_object.py [--model seem-lite] [--data streets:clear] [--images 20]

Points are the places deepest inside the object, boxes the tightest ones; a word asks for all pixels of its class.
Objects and classes of fewer than 150 pixels are left out.
"""

import argparse
from collections import defaultdict
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

import promptseg

LEAST_PIXELS = 150


def prompts_for(mask: np.ndarray, name: str) -> dict[str, dict[str, Any]]:
    """Arguments of `segment` for one object (H, W), by kind of prompt."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    rows, columns = np.nonzero(mask)
    point = {"points": [(x + 0.5, y + 0.5)]}
    box = {"boxes": [(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]}
    return {"point": point, "box": box, "point and word": point | {"text": name}, "point and box": point | box}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="seem-lite")
    parser.add_argument("--data", default="streets:clear")
    parser.add_argument("--images", type=int, default=20)
    args = parser.parse_args()
    model, data = promptseg.load_model(args.model, device="cpu"), promptseg.load_dataset(args.data)
    overlaps: dict[str, list[float]] = defaultdict(list)
    for index in range(args.images):
        sample = data.val[index]
        photo, labels, panoptic, names = sample.image(), sample.semantic(), sample.panoptic(), data.label_space.names
        questions = [
            ("word", {"text": name}, labels == class_id)
            for class_id, name in enumerate(names)
            if (labels == class_id).sum() >= LEAST_PIXELS
        ]
        for segment in panoptic.segments:
            mask = panoptic.map == segment.id
            if mask.sum() >= LEAST_PIXELS:
                questions += [(kind, given, mask) for kind, given in prompts_for(mask, names[segment.class_id]).items()]
        for kind, given, mask in questions:
            found = promptseg.segment(model, photo, **given).mask
            overlaps[kind].append((found & mask).sum() / (found | mask).sum())
    for kind, values in overlaps.items():
        print(f"{kind:<15} {100 * np.mean(values):5.1f} IoU, {len(values)} prompts", flush=True)


if __name__ == "__main__":
    main()
