r"""What a GPU does: correctness against the CPU, then SEEM and SAM at full size, speed and memory.

    benchmarks/gpu.sh gpu-results --seconds 150

Every measurement stands for itself: what fails is noted with its error, what finds no time left as left out, and the
results are written after each, the smallest model first and what is compiled last. Weights are random (`seem-lite` has
its own), as time and memory do not depend on them. Float32 is as PyTorch sets it: convolutions may take TF32, products
of matrices not; the comparison with the CPU forbids both. A rehearsal without a GPU, in half a minute:

    benchmarks/gpu.sh gpu-results --device cpu --configs seem-lite --size 64 128 --batches 1 2 \
        --classes 3 --sam-side 64 --sam-classes 2 9 --eager
"""

import argparse
import copy
import platform
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sam_steps
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from training_step import Scene, Work, build_model, build_scene, matmul_rate, our_step

from promptseg.engine.defaults import default_prompts
from promptseg.engine.fit import fit
from promptseg.engine.predict import predict
from promptseg.engine.settings import PRESETS
from promptseg.files import write_json, write_text
from promptseg.label_space import LabelSpace
from promptseg.methods.registry import METHODS
from promptseg.models.base import Size
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.tasks.registry import TASKS

PRECISIONS = ("float32", "bfloat16")
WARM_UP, LEAST, MOST, ENOUGH = 2, 3, 20, 0.5
"""Calls before the clock runs; calls that are timed, at least and at most; seconds after which they are enough."""
ABSENT_CLASSES = PRESETS["tuned"].absent_classes
Row = dict[str, Any]


class Case(NamedTuple):
    """One measurement: its name, what makes its row, and the seconds it may take at most."""

    name: str
    measure: Callable[[], Row]
    seconds: float = 30


@dataclass(frozen=True, eq=False)
class RandomPhoto:
    """A labelled photo in memory, as `fit` takes it."""

    id: str
    label_space: LabelSpace
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        return self.pixels

    def semantic(self) -> NDArray[np.uint8]:
        """(H, W)."""
        return self.labels


class Bench:
    """All measurements on one device."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._device, self._batches, self._configs = options.device, options.batches, options.configs
        self._size: Size = (options.size[0], options.size[1])
        self._classes = options.classes
        self._compile, self._sam_classes = options.compile, options.sam_classes
        self._model = cache(partial(build_model, device=options.device))
        self._sam = cache(partial(sam_steps.build, 8, options.device, options.sam_side))

    def cases(self) -> Iterator[Case]:
        """The smallest model first, what is compiled last."""
        yield Case("rate of float32 products, GFLOP/s", lambda: {"rate": matmul_rate(self._device)})
        for precision in PRECISIONS:
            yield Case(f"seem-lite: against the CPU, {precision}", partial(self._agreement, "seem-lite", precision))
        for config in self._configs:
            yield Case(f"{config}: against the CPU, float32", partial(self._agreement, config, "float32"))
            yield from self._of_seem(config)
            if config == self._configs[0]:
                yield from self._of_sam()
            self._model.cache_clear()
        if self._compile:
            yield from self._compiled(self._configs[0])

    def _of_seem(self, config: str) -> Iterator[Case]:
        for batch in self._batches:
            for precision in PRECISIONS:
                yield self._timed(
                    f"{config}: encode, {precision}", batch, partial(self._encoding, config, batch, precision)
                )
                step = partial(self._step, config, batch, precision=precision)
                yield self._timed(f"{config}: SSPrompt step, {precision}", batch, step)
        yield self._timed(f"{config}: SSPrompt step, paper preset", 2, partial(self._step, config, 2, "paper"))
        yield Case(f"{config}: profile of encode, bfloat16", partial(self._profile, self._encoding, config))
        yield Case(f"{config}: profile of SSPrompt step, bfloat16", partial(self._profile, self._step, config))
        yield self._timed(f"{config}: predict", 1, partial(self._prediction, config))
        if "pixprompt" in METHODS:
            shots = self._batches[-1]
            yield Case(f"{config}: fit of pixel prompts", partial(self._pixel_fit, config, shots), 60)

    def _of_sam(self) -> Iterator[Case]:
        yield self._timed("SAM ViT-B: encode", 1, self._sam_encoding)
        for classes in self._sam_classes:
            for absent in (None, ABSENT_CLASSES):
                told = "all decoded" if absent is None else f"the photo's and {absent} others decoded"
                step = partial(self._sam_step, classes, absent)
                yield self._timed(f"SAM ViT-B: SSPrompt step, {classes} classes, {told}", 1, step)

    def _compiled(self, config: str) -> Iterator[Case]:
        batch = self._batches[-1]
        step = partial(self._step, config, batch, precision="bfloat16", compile=True)
        yield self._timed(f"{config}: SSPrompt step, bfloat16, compiled", batch, step, 90)
        encoding = partial(self._encoding, config, batch, "bfloat16", compiled=True)
        yield self._timed(f"{config}: encode, bfloat16, compiled", batch, encoding, 90)

    def _timed(self, name: str, images: int, build: Callable[[], Work], seconds: float = 30) -> Case:
        return Case(name, lambda: timed(build(), images, self._device), seconds)

    def _scene(self, config: str, batch: int, preset: str = "tuned") -> Scene:
        return build_scene(self._model(config), self._classes, batch, self._size, preset)

    def _encoding(self, config: str, batch: int, precision: str, compiled: bool = False) -> Work:
        """Encoding of photos that are on the device."""
        scene = self._scene(config, batch)
        images = scene.images.to(self._device)
        encode = torch.compile(scene.model.encode_image) if compiled else scene.model.encode_image

        def work() -> None:
            with torch.autocast(self._device, torch.bfloat16, enabled=precision == "bfloat16"):
                encode(images)

        return work

    def _profile(self, build: Callable[..., Work], config: str) -> Row:
        return profiled(build(config, self._batches[-1], precision="bfloat16"), self._device)

    def _sam_encoding(self) -> Work:
        return sam_steps.encoding(self._sam())[0]

    def _sam_step(self, classes: int, absent: int | None) -> Work:
        return sam_steps.step(self._sam(), classes, absent)[0]

    def _step(self, config: str, batch: int, preset: str = "tuned", **changed: Any) -> Work:
        return our_step(self._scene(config, batch, preset), "ssprompt", **changed)

    def _prediction(self, config: str) -> Work:
        """Photo in memory to label map in memory."""
        scene = self._scene(config, 1)
        prompts = default_prompts(scene.model, scene.space)
        return partial(predict, scene.model, prompts, photos(scene)[0].pixels, "semantic")

    def _pixel_fit(self, config: str, shots: int) -> Row:
        """One whole fit, encoding included: it is too long to be repeated."""
        scene = self._scene(config, shots)
        work = partial(fit, scene.model, photos(scene), "pixprompt", progress=False)
        return timed(work, shots, self._device, warm_up=0, least=1)

    def _agreement(self, config: str, precision: str) -> Row:
        """How far answers, loss and gradients on the device are from those of the CPU in float32."""
        half = (self._size[0] // 2, self._size[1] // 2)
        ours = build_scene(self._model(config), self._classes, 2, half)
        reference = SeemSegmenter(copy.deepcopy(ours.model.network).cpu(), ours.model.tokenizer, config)
        theirs = answers(replace(ours, model=reference), "float32")
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return {"relative error": errors(answers(ours, precision), theirs)}


def photos(scene: Scene) -> list[Any]:
    """The images of a scene as samples."""
    pairs = zip(scene.images, scene.labels, strict=True)
    return [
        RandomPhoto(f"photo {index}", scene.space, image.permute(1, 2, 0).contiguous().numpy(), labels.numpy())
        for index, (image, labels) in enumerate(pairs)
    ]


def answers(scene: Scene, precision: str) -> dict[str, Tensor]:
    """Logits of the photos, the loss, and its gradients along the prompts, on the CPU."""
    model = scene.model
    prompts = default_prompts(model, scene.space).to(model.device)
    leaves = {name: prompts.kinds[name].clone().requires_grad_() for name in ("spatial", "semantic")}
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        found = model.decode(model.encode_image(scene.images), prompts.updated(leaves))
    found = replace(found, class_logits=found.class_logits.float(), mask_logits=found.mask_logits.float())
    loss = TASKS.find("semantic").build(scene.settings.task).loss(found, list(scene.labels))
    loss.backward()
    given = {"class logits": found.class_logits, "mask logits": found.mask_logits, "loss": loss}
    given |= {f"gradient, {name}": leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    return {name: tensor.detach().cpu() for name, tensor in given.items()}


def errors(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, float]:
    """Length of each difference by the length of what it should be."""
    return {name: float(f"{(ours[name] - theirs[name]).norm() / theirs[name].norm():.2g}") for name in theirs}


def timed(work: Work, images: int, device: str, warm_up: int = WARM_UP, least: int = LEAST) -> Row:
    """Milliseconds an image, median and quartiles, and the peak of the device's memory."""
    for _ in range(warm_up):
        work()
    wait(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds: list[float] = []
    while len(seconds) < least or (len(seconds) < MOST and sum(seconds) < ENOUGH):
        began = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - began)
    spread = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else 3 * seconds
    low, middle, high = (round(1e3 * value / images, 3) for value in spread)
    row: Row = {"images": images, "ms_per_image": middle, "low": low, "high": high, "calls": len(seconds)}
    return row | ({"peak_gb": round(torch.cuda.max_memory_allocated() / 2**30, 2)} if device == "cuda" else {})


def profiled(work: Work, device: str) -> Row:
    """Kernels of one call, or operations on a CPU: how many, their milliseconds together, and those that take most."""
    work()
    activity = ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiler:
        work()
        wait(device)
    clock = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    found = sorted(((getattr(e, clock) / 1e3, e.count, e.key) for e in profiler.key_averages()), reverse=True)
    top = [{"ms": round(ms, 3), "calls": calls, "name": name[:90]} for ms, calls, name in found[:12]]
    return {"calls": sum(row[1] for row in found), "ms": round(sum(row[0] for row in found), 2), "top": top}


def wait(device: str) -> None:
    """Until the device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def attempt(case: Case, seconds: float) -> Row:
    """The row of a measurement, for which so many seconds are left; of one that fails, its error."""
    if seconds <= 1:
        return {"name": case.name, "left_out": "no time left"}
    began = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, min(seconds, case.seconds))
    try:
        row = case.measure()
    except Exception as error:  # whatever it is, the other measurements go on
        row = {"error": f"{type(error).__name__}: {error}"[:1000]}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {"name": case.name, "seconds": round(time.perf_counter() - began, 1)} | row


def out_of_time(*_: object) -> None:
    """What the alarm does."""
    raise TimeoutError("no time left")


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| | images at once | ms an image | quartiles | images a second | peak, GB |", "| --- |" + " --- |" * 5]
    for row in rows:
        if "ms_per_image" in row:
            quartiles, rate = f"{row['low']} to {row['high']}", round(1e3 / row["ms_per_image"], 1)
            cells = [row["images"], row["ms_per_image"], quartiles, rate, row.get("peak_gb", "")]
        else:
            told = {name: value for name, value in row.items() if name not in ("name", "seconds", "top")}
            cells = [str(told).replace("|", "/"), *[""] * 4]
        lines.append("| " + " | ".join(map(str, [row["name"], *cells])) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu.json and gpu.md")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--configs", nargs="+", default=["seem-focal-t-v1", "seem-focal-l-v1"])
    parser.add_argument("--size", nargs=2, type=int, default=[512, 1024], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 16])
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--sam-side", type=int, default=1024, help="side of SAM's input, pixels")
    parser.add_argument("--sam-classes", nargs="+", type=int, default=[19, 150])
    parser.add_argument("--eager", dest="compile", action="store_false", help="leave out what is compiled")
    parser.add_argument("--seconds", type=float, default=150, help="what finds no time is left out")
    options = parser.parse_args()
    end = time.perf_counter() + options.seconds
    signal.signal(signal.SIGALRM, out_of_time)
    card = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    about = {"device": card, "torch": torch.__version__, "size": options.size, "classes": options.classes}
    rows: list[Row] = []
    for case in Bench(options).cases():
        rows.append(attempt(case, end - time.perf_counter()))
        print(rows[-1], flush=True)
        write_json(options.out / "gpu.json", about | {"rows": rows})
        write_text(options.out / "gpu.md", f"{card}, torch {torch.__version__}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
