"""A training image on SAM, SAM 2 or SAM 3 at full size: time and memory, features cached or not, by number of classes.

python benchmarks/sam_steps.py --classes 19 150 --absent 16 --threads 1 --out sam_steps.json
python benchmarks/sam_steps.py --kind sam3 --classes 4 --out sam3_steps.json

SAM ViT-B, SAM 2.1 tiny or SAM 3 with random weights (time and memory do not depend on their values), one photo of
512 x 1024 on SAM's input of 1024 x 1024 (the others stretch photos to their square), semantic loss at every fourth
pixel each way (the masks' own resolution). The photo shows 12 classes; with
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
TEXT_TOKENS = 4
"""Tokens of a class name of SAM 3."""
PHOTO = (512, 1024)


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


def build_sam2(chunk: int) -> Any:
    """SAM 2.1 tiny, likewise, on the CPU."""
    import torch
    from transformers import Sam2Config, Sam2Model

    from promptseg.models.sam.points import Sam2

    torch.manual_seed(0)
    network = Sam2Model(Sam2Config())
    return Sam2(network, "sam2.1-hiera-tiny, random", network.config.prompt_encoder_config.image_size, chunk, "")


def build_sam3(chunk: int) -> Any:
    """SAM 3, likewise, but for its text encoder, which has no part in a step and the vocabulary of the package's."""
    import torch
    from transformers import Sam3Config, Sam3Model

    from promptseg.assets import LITE_FOLDER
    from promptseg.models.sam.family import KEEP
    from promptseg.models.sam.sam3 import Sam3
    from promptseg.models.tokenizer import Tokenizer

    torch.manual_seed(0)
    tokenizer, config = Tokenizer.from_file(LITE_FOLDER / "tokenizer.json"), Sam3Config()
    config.text_config.vocab_size = tokenizer.vocab_size
    config.text_config.bos_token_id = config.text_config.eos_token_id = tokenizer.vocab_size - 1
    return Sam3(Sam3Model(config), "sam3, random", config.image_size, chunk, "", tokenizer, KEEP)


KINDS = {"sam": build, "sam2": build_sam2, "sam3": build_sam3}


def measure(row: dict[str, Any], threads: int, send: Any) -> None:
    """Time one image: its encoding where no classes are given, else one step from its features."""
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    model = KINDS[row["kind"]](row.get("chunk", 1))
    start = peak_bytes()
    work, held = encoding(model) if "classes" not in row else step(model, row["classes"], row["absent"])
    began = time.process_time()
    work()
    seconds = time.process_time() - began
    send.send(row | {"seconds": seconds, "feature_bytes": held, "model_bytes": start, "peak_bytes": peak_bytes()})


def encoding(model: Any) -> tuple[Callable[[], object], int]:
    """The encoding of a photo, and the bytes of its features."""
    import torch

    photo = torch.randint(0, 256, (3, *model.input_size(PHOTO)), dtype=torch.uint8, device=model.device)
    return lambda: model.encode_image([photo]), random_features(model).nbytes


def random_features(model: Any) -> Any:
    """Features of one photo that no encoder has seen."""
    import torch

    from promptseg.models.sam.frozen import SamFeatures

    levels = []
    for spec in model.dense_map_specs:
        side = round(model.size / spec.stride)
        levels.append(torch.randn(1, spec.dim, side, side, device=model.device))
    return SamFeatures((model.size, model.size), (model.input_size(PHOTO),), tuple(levels))


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
    from promptseg.prompts import Prompts
    from promptseg.tasks.semantic import SemanticTask

    features, dims = random_features(model), {kind.name: kind.dim for kind in model.prompt_spec}
    semantic = torch.randn(classes, dims["semantic"], device=model.device)
    kinds = model.default_spatial_prompts() | {"semantic": semantic}
    kinds = {name: tensor.requires_grad_() for name, tensor in kinds.items()}
    there = torch.arange(dims.get("tokens", 0)).lt(TEXT_TOKENS).expand(classes, -1)
    fixed = {"tokens": there} if "tokens" in dims else {}
    space = LabelSpace("numbers", tuple(ClassInfo(str(index), (0, 0, 0)) for index in range(classes)))
    prompts = Prompts(model.prompt_spec, kinds, fixed, space, model.id, "")
    target = torch.randint(0, min(classes, SHOWN), features.image_sizes[0], dtype=torch.uint8)
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
    parser.add_argument("--kind", default="sam", choices=list(KINDS))
    parser.add_argument("--classes", type=int, nargs="+", default=[19, 150])
    parser.add_argument("--chunks", type=int, nargs="+", default=[8])
    parser.add_argument("--absent", type=int, nargs="*", default=[], help="absent classes, beside rows of all classes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    wanted = [
        {"kind": args.kind, "classes": classes, "chunk": chunk, "absent": absent}
        for chunk, classes, absent in itertools.product(args.chunks, args.classes, (None, *args.absent))
    ]
    rows = []
    for row in ({"kind": args.kind}, *wanted):
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
