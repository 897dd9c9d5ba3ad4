"""A training image on SAM at full size: time and memory, with and without cached features, by number of classes.

python benchmarks/sam_steps.py --classes 19 150 --absent 16 --threads 1 --out sam_steps.json

ViT-B with random weights (time and memory do not depend on their values), one photo of 512 x 1024 on SAM's input of
1024 x 1024, semantic loss at every fourth pixel each way (the masks' own resolution). The photo shows 12 classes; with
`--absent` so many of the others are decoded with them, as `fit` does, beside rows of all classes. Each row runs in a
process of its own, so that peaks are told apart. Times are processor seconds, which other load on the machine hardly
touches.
"""

import argparse
import itertools
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promptseg.files import write_json

STRIDE, PATCH, SHOWN = 4, 16, 12


def build(chunk: int, device: str = "cpu", side: int = 1024) -> Any:
    """SAM ViT-B as the library's default config has it, with random weights, drawn on the device.

    Args:
        chunk: classes decoded at once.
        device: where it is.
        side: of its input, pixels.
    """
    import torch
    from transformers import SamConfig, SamModel

    from promptseg.models.sam.points import Sam

    torch.manual_seed(0)
    grid = side // PATCH
    config = SamConfig(
        vision_config={"image_size": side}, prompt_encoder_config={"image_embedding_size": grid, "image_size": side}
    )
    with torch.device(device):
        network = SamModel(config)
    return Sam(network.to(device), "sam-vit-base, random", side, chunk, "")


def measure(row: dict[str, Any], threads: int, send: Any) -> None:
    """Time one image: its encoding where no classes are given, else one step from its features."""
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    model = build(row.get("chunk", 1))
    start = peak_bytes()
    work, held = encoding(model) if "classes" not in row else step(model, row["classes"], row["absent"])
    began = time.process_time()
    work()
    seconds = time.process_time() - began
    send.send(row | {"seconds": seconds, "feature_bytes": held, "model_bytes": start, "peak_bytes": peak_bytes()})


def encoding(model: Any) -> tuple[Callable[[], object], int]:
    """The encoding of a photo, and the bytes of its features."""
    import torch

    photo = torch.randint(0, 256, (3, model.size // 2, model.size), dtype=torch.uint8, device=model.device)
    side = model.size // PATCH
    return lambda: model.encode_image([photo]), 4 * model.dim * side**2


def step(model: Any, classes: int, absent: int | None = None) -> tuple[Callable[[], object], int]:
    """Decoding, loss and gradient from the features of a photo, and their bytes.

    Args:
        model: of the photo.
        classes: in the list.
        absent: how many of those that the photo does not show are decoded; none = all.
    """
    import torch

    from promptseg.engine.drawn_classes import DrawnClasses, answers
    from promptseg.features.encode import Encoded
    from promptseg.label_space import ClassInfo, LabelSpace
    from promptseg.models.sam.frozen import SamFeatures
    from promptseg.prompts import Prompts
    from promptseg.tasks.semantic import SemanticTask

    side, photo = model.size // PATCH, (model.size // 2, model.size)
    features = SamFeatures(
        (model.size, model.size), (photo,), (torch.randn(1, model.dim, side, side, device=model.device),)
    )
    kinds = model.default_spatial_prompts() | {"semantic": torch.randn(classes, model.dim, device=model.device)}
    kinds = {name: tensor.requires_grad_() for name, tensor in kinds.items()}
    space = LabelSpace("numbers", tuple(ClassInfo(str(index), (0, 0, 0)) for index in range(classes)))
    prompts = Prompts(model.prompt_spec, kinds, {}, space, model.id, "")
    target = torch.randint(0, min(classes, SHOWN), photo, dtype=torch.uint8)
    group = [Encoded(torch.empty(0), "", lambda: features, features.canvas, target)]
    task, drawn = SemanticTask(), DrawnClasses(absent, seed=0)

    def run() -> None:
        decoded = drawn(group, task, classes, step=0)
        (found,) = answers(lambda _, some: model.decode_all(features, some), group, prompts, decoded)
        task.loss(found, [target], STRIDE).backward()

    return run, features.nbytes


def peak_bytes() -> int:
    """Largest memory of this process so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Measure every row, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[19, 150])
    parser.add_argument("--chunks", type=int, nargs="+", default=[8])
    parser.add_argument("--absent", type=int, nargs="*", default=[], help="absent classes, beside rows of all classes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    wanted = [
        {"classes": classes, "chunk": chunk, "absent": absent}
        for chunk, classes, absent in itertools.product(args.chunks, args.classes, (None, *args.absent))
    ]
    rows = []
    for row in ({}, *wanted):
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=measure, args=(row, args.threads, send))
        process.start()
        rows.append(receive.recv())
        process.join()
        print(json.dumps(rows[-1]), flush=True)
    if args.out is not None:
        write_json(args.out, {"stride": STRIDE, "threads": args.threads, "rows": rows})


if __name__ == "__main__":
    main()
