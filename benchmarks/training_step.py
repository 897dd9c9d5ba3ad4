"""One training step on a CPU or GPU: the plain way, each saving added in turn, and what it all costs in memory.

    python benchmarks/training_step.py --out step.json
    python benchmarks/training_step.py --configs seem-lite --classes 9 --size 128 256 --batch 2 --out step.json

The variants take turns in one process, so that other load on the machine meets all of them; medians and quartiles of
wall and processor seconds are told. Peak memory is that of a process of its own for each variant. Weights are random
(`seem-lite` has its own); classes are random patches of a label map, 12 of them at a time.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from plain_way import encode_plainly, plain_decode, plain_losses
from torch import Tensor

from promptseg.assets import LITE_FOLDER
from promptseg.engine.defaults import default_prompts
from promptseg.engine.settings import Resolved, resolve
from promptseg.engine.trainer import Trainer, build_optimizer
from promptseg.engine.workers import Workers
from promptseg.features.encode import Encoded
from promptseg.features.features_cache import FeaturesCache
from promptseg.features.memory import PeakMemory, keep_freed_memory
from promptseg.files import write_json
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.methods.module import PromptModule
from promptseg.methods.registry import METHODS
from promptseg.models.base import ImageFeatures, Size
from promptseg.models.capabilities import EmbeddedTexts
from promptseg.models.registry import load_model
from promptseg.models.seem.config import NAMED
from promptseg.models.seem.network.seem_network import HeadOutputs, SeemNetwork
from promptseg.models.seem.network.text_encoder import normalise
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.models.tokenizer import Tokenizer
from promptseg.prompts import Prompts
from promptseg.record import Draw, FitRecord
from promptseg.tasks.registry import TASKS

Work = Callable[[], object]


@dataclass(frozen=True)
class Scene:
    """What every variant of a run works on."""

    model: SeemSegmenter
    space: LabelSpace
    images: Tensor
    labels: Tensor
    settings: Resolved


def build_model(config: str, device: str) -> SeemSegmenter:
    """A model whose weights are drawn on the device they stay on; `seem-lite` has its own."""
    if config == "seem-lite":
        model = load_model(config, device=device)
        assert isinstance(model, SeemSegmenter)
        return model
    torch.manual_seed(0)
    with torch.device(device):
        network = SeemNetwork(NAMED[config])
    return SeemSegmenter(network.to(device), Tokenizer.from_file(LITE_FOLDER / "tokenizer.json"), config)


def build_scene(model: SeemSegmenter, classes: int, batch: int, size: Size, preset: str = "tuned") -> Scene:
    """Images (B, 3, H, W) and label maps (B, H, W) for a model, from a fixed seed."""
    torch.manual_seed(0)
    height, width = size
    space = LabelSpace("benchmark", tuple(ClassInfo(f"thing {i}", (0, 0, 0)) for i in range(classes)))
    patches = torch.randint(0, min(classes, 12), (batch, height // 16, width // 16), dtype=torch.uint8)
    labels = patches.repeat_interleave(16, 1).repeat_interleave(16, 2)
    images = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
    return Scene(model, space, images, labels, resolve(preset, METHODS.find("ssprompt"), {}))


class FullContext:
    """A model whose text encoder always reads its whole context, as CLIP is called by most code."""

    def __init__(self, model: SeemSegmenter) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode_embedded(self, texts: EmbeddedTexts) -> dict[str, Tensor]:
        """Semantic prompts of texts."""
        return {"semantic": normalise(self._model.network.text.encode_embedded(texts.words, texts.ends))}


def start(scene: Scene, method: str, plain: bool) -> tuple[Prompts, PromptModule]:
    """Default prompts, and a method that starts from them."""
    settings = resolve("paper", METHODS.find(method), {})
    defaults = default_prompts(scene.model, scene.space, settings.fit.spatial, settings.fit.templates)
    model: Any = FullContext(scene.model) if plain else scene.model
    defaults = defaults.to(scene.model.device)
    return defaults, METHODS.find(method).build(model, defaults, settings.method, 0)


def plain_step(scene: Scene, method: str, decoder: str = "plain", cached: bool = False) -> Work:
    """A step with the plain loss; `decoder` is plain, ours, or ours with keys and values at hand."""
    defaults, module = start(scene, method, plain=True)
    optimizer = build_optimizer(module, scene.settings.fit)
    maps = encode_plainly(scene.model, scene.images) if cached and decoder == "plain" else None
    ready = None if decoder == "plain" else _features(scene, prepared=decoder == "prepared")

    def work() -> None:
        optimizer.zero_grad()
        prompts = defaults.updated(module())
        if ready is None:
            pixels = encode_plainly(scene.model, scene.images) if maps is None else maps
            heads = plain_decode(scene.model, pixels, prompts)
        else:
            heads = _ours(scene, ready, prompts)
        plain_losses(heads, list(scene.labels.to(scene.model.device)), scene.settings).backward()
        optimizer.step()

    return work


def _features(scene: Scene, prepared: bool) -> ImageFeatures:
    features = scene.model.encode_image(scene.images)
    return scene.model.prepare(features) if prepared else features


def _ours(scene: Scene, features: ImageFeatures, prompts: Prompts) -> list[HeadOutputs]:
    decode = scene.model.decode_all if scene.settings.fit.auxiliary else lambda *given: [scene.model.decode(*given)]
    return [HeadOutputs(head.class_logits, head.mask_logits) for head in decode(features, prompts)]


def our_step(scene: Scene, method: str, **changed: Any) -> Work:
    """A step of the product's trainer, features at hand, with some settings changed."""
    settings = replace(scene.settings.fit, **changed)
    (defaults, module), task = start(scene, method, plain=False), TASKS.find("semantic").build(scene.settings.task)
    record = FitRecord(method, "semantic", "tuned", 0, settings, {}, {}, Draw(("random numbers",)), "none")
    trainer = Trainer(
        scene.model,
        defaults,
        module,
        task,
        record,
        FeaturesCache(scene.model.device),
        None,
        Workers(scene.model.device),
    )
    optimizer = build_optimizer(module, settings)
    decoder = trainer.decoder()
    batch = [_encoded(scene, index) for index in range(len(scene.images))]
    return lambda: trainer.step(optimizer, decoder, batch, number=0)


def _encoded(scene: Scene, index: int) -> Encoded:
    features = scene.model.encode_image(scene.images[index : index + 1])
    return Encoded(scene.images[index], str(index), lambda: features, features.canvas, scene.labels[index])


def decoder_only(scene: Scene, decoder: str) -> Work:
    """Decoder forward and backward, under a loss on the last head that costs nothing itself."""
    prompts = default_prompts(scene.model, scene.space).to(scene.model.device)
    moved = {name: prompts.kinds[name].clone().requires_grad_() for name in ("spatial", "semantic")}
    prompts, leaves = prompts.updated(moved), list(moved.values())
    maps = encode_plainly(scene.model, scene.images) if decoder == "plain" else None
    ready = None if decoder == "plain" else _features(scene, prepared=decoder == "prepared")

    def work() -> None:
        last = plain_decode(scene.model, maps, prompts)[-1] if ready is None else _ours(scene, ready, prompts)[-1]
        torch.autograd.grad(last.class_logits.mean() + last.mask_logits.mean(), leaves)

    return work


VARIANTS: dict[str, Callable[[Scene], Work]] = {
    "plain CoOp": lambda scene: plain_step(scene, "coop"),
    "plain SSPrompt": lambda scene: plain_step(scene, "ssprompt"),
    "+ encode once": lambda scene: plain_step(scene, "ssprompt", cached=True),
    "+ decoder": lambda scene: plain_step(scene, "ssprompt", "ours"),
    "+ keys and values once": lambda scene: plain_step(scene, "ssprompt", "prepared"),
    "+ loss by tiles = SSPrompt": lambda scene: our_step(scene, "ssprompt"),
    "SSPrompt, loss stride 4": lambda scene: our_step(scene, "ssprompt", loss_stride=4),
    "CoOp": lambda scene: our_step(scene, "coop"),
    "SemPrompt": lambda scene: our_step(scene, "semprompt"),
    "SemPrompt, loss stride 4": lambda scene: our_step(scene, "semprompt", loss_stride=4),
    "decoder alone, plain": lambda scene: decoder_only(scene, "plain"),
    "decoder alone": lambda scene: decoder_only(scene, "ours"),
    "decoder alone, keys and values once": lambda scene: decoder_only(scene, "prepared"),
}
"""What is compared, in this order. The lines with a plus add one saving each to the line above."""


def take_turns(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of every variant."""
    works = {name: VARIANTS[name](scene) for name in options.variants}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for turn in range(options.repeats + 1):
        for name, work in works.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            _wait(options.device)
            if turn:  # the first one warms up
                times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {
        name: {"wall": spread([t[0] for t in ts]), "processor": spread([t[1] for t in ts])}
        for name, ts in times.items()
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles, seconds."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {"median": round(statistics.median(values), 4), "low": round(low, 4), "high": round(high, 4)}


def peak_memory(options: argparse.Namespace, config: str, classes: int, name: str) -> dict[str, float]:
    """Peak memory, MB, of a process that does nothing but two steps of a variant."""
    flags = ["--size", *map(str, options.size), "--batch", str(options.batch), "--preset", options.preset]
    command = [sys.executable, __file__, "--configs", config, "--classes", str(classes), *flags]
    command += ["--device", options.device, "--variants", name, "--child"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(options: argparse.Namespace) -> None:
    """The other side of `peak_memory`."""
    model = build_model(options.configs[0], options.device)
    scene = build_scene(model, options.classes[0], options.batch, options.size, options.preset)
    before = _resident()
    work = VARIANTS[options.variants[0]](scene)
    encoding = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 if options.device == "cpu" else 0
    meter = PeakMemory(scene.model.device)
    for _ in range(2):
        work()
    steps = (meter.read() or 0) / 2**20
    print(json.dumps({"model": round(before), "steps": round(steps), "with encoding": round(max(encoding, steps))}))


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def matmul_rate(device: str) -> float:
    """Best of ten, in 10^9 operations per second, of a product of two 1024 x 1024 matrices in float32."""
    one, best = torch.randn(1024, 1024, device=device), 1e9
    for _ in range(10):
        began = time.perf_counter()
        one @ one
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return round(2 * 1024**3 / best / 1e9, 1)


def measure(options: argparse.Namespace, config: str, classes: int) -> dict[str, Any]:
    """One row of the report."""
    scene = build_scene(build_model(config, options.device), classes, options.batch, options.size, options.preset)
    features = scene.model.encode_image(scene.images[:1])
    prompts = default_prompts(scene.model, scene.space).to(scene.model.device)
    kept = {
        "features": features.nbytes,
        "with keys and values": scene.model.prepare(features).nbytes,
        "decoder states, last head": scene.model.decoder_states(features, prompts, all_heads=False).nbytes,
    }
    row: dict[str, Any] = {"config": config, "classes": classes, "size": options.size, "batch": options.batch}
    row["kept_mb_per_image"] = {name: round(count / 2**20, 1) for name, count in kept.items()}
    row["seconds"] = take_turns(scene, options)
    del scene, features
    if options.memory:
        row["memory"] = {name: peak_memory(options, config, classes, name) for name in options.variants}
    return row


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=["seem-focal-t-v1"], choices=sorted(NAMED))
    parser.add_argument("--classes", nargs="+", type=int, default=[19, 150])
    parser.add_argument("--size", nargs=2, type=int, default=[512, 1024], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out peak memory")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # for both sides alike; the plain one has no training loop to do it
    if options.child:
        return child(options)
    keep_freed_memory()
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    about = {"device": name, "threads": options.threads, "torch": torch.__version__, "preset": options.preset}
    about["matmul_gflops"] = matmul_rate(options.device)
    rows = []
    for config in options.configs:
        for classes in options.classes:
            rows.append(measure(options, config, classes))
            print(json.dumps(rows[-1], indent=1), flush=True)
    if options.out:
        write_json(options.out, about | {"rows": rows})
    return None


if __name__ == "__main__":
    main()
