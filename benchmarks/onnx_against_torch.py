"""An exported graph in onnxruntime beside PyTorch: time, peak memory, how far the answers are apart, and size of files.

    python benchmarks/onnx_against_torch.py --models seem-lite --size 256 512 --out onnx.json
    python benchmarks/onnx_against_torch.py --models seem-focal-t-v1 --size 512 1024 --rounds 5 --out onnx.json
    python benchmarks/onnx_against_torch.py --prompts runs/photos/prompts --photos 8 --static --out onnx.json

From the pixels of one photo to the scores of its classes, on one thread, with default prompts or those of a folder. All
take turns in one process, so that other load on the machine meets all of them; medians and quartiles of wall and
processor seconds are told. The answers are compared on several photos. Peak memory is that of a process of its own,
which does nothing else: PyTorch's has the whole package and the text encoder in it, onnxruntime's has neither. Weights
are random, but for `seem-lite`.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch.nn import functional
from training_step import build_model, spread

from promptseg.data.registry import load_dataset
from promptseg.data.sample import Sample
from promptseg.engine.defaults import default_prompts
from promptseg.export.onnx_folder import GRAPH, Answers, agreement, export_onnx
from promptseg.export.onnx_graph import OUTPUTS, LabelGraph
from promptseg.export.onnx_int8 import to_int8
from promptseg.features.memory import PeakMemory
from promptseg.files import write_json
from promptseg.prompts import Prompts

Pixels = NDArray[np.float32]
Run = Callable[[Pixels], Answers]
TORCH, FLOAT32, INT8 = "PyTorch", "onnxruntime, float32", "onnxruntime, int8"
STATIC = "onnxruntime, int8 with fixed ranges"
FLUSHED = "onnxruntime, float32, subnormals as zero"
ALONE = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for _ in range(2):
    session.run(None, {"pixels": numpy.load(sys.argv[2])})
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
"""A program that runs a graph twice and prints its peak memory, KiB (`ru_maxrss` would be that of who started it)."""


def torch_run(name: str, options: argparse.Namespace) -> tuple[Run, LabelGraph]:
    """PyTorch's way from pixels to scores, and what it goes through."""
    model = build_model(name, "cpu")
    given = options.prompts and Prompts.load(options.prompts)
    graph = LabelGraph(model, given or default_prompts(model, load_dataset(options.data).label_space)).eval()

    @torch.inference_mode()
    def run(pixels: Pixels) -> Answers:
        return [answer.numpy() for answer in graph(torch.from_numpy(pixels))]

    return run, graph


def onnx_run(path: Path, flush: bool = False) -> Run:
    """The same by a graph, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if flush:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(list(OUTPUTS), {"pixels": pixels})


def fixed_ranges(source: Path, path: Path, photos: list[Pixels]) -> Path:
    """The other way to eight bits: convolutions too, and ranges that some photos have shown once."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(photos)

        def get_next(self) -> dict[str, Pixels] | None:
            pixels = next(self.left, None)
            return None if pixels is None else {"pixels": pixels}

    quant_pre_process(source, path, skip_onnx_shape=True, skip_symbolic_shape=True)
    kinds = ["Conv", "MatMul", "Gemm"]
    quantization.quantize_static(path, path, Reader(), op_types_to_quantize=kinds, per_channel=True)
    return path


def take_turns(runs: dict[str, Run], pixels: Pixels, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Wall and processor seconds of each, after a round that warms up."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            run(pixels)
            if turn:
                seconds[name].append((time.perf_counter() - wall, time.process_time() - processor))
    kinds = ("wall", "processor")
    return {
        name: {kind: spread(list(times)) for kind, times in zip(kinds, zip(*pairs, strict=True), strict=True)}
        for name, pairs in seconds.items()
    }


def photos(samples: Sequence[Sample], options: argparse.Namespace) -> list[Pixels]:
    """Pixels (1, 3, H, W) of the first photos of a split, resized."""
    found = []
    for index in range(options.photos):
        image = torch.from_numpy(samples[index].image()).permute(2, 0, 1)[None].float()
        resized = functional.interpolate(image, options.size, mode="bilinear", antialias=True)
        found.append(resized.round().numpy())
    return found


def compared(run: Run, expected: list[Answers], given: list[Pixels]) -> dict[str, Any]:
    """How far answers are from those expected: the largest difference of each output, and the share of equal pixels."""
    answers = [run(pixels) for pixels in given]
    differences = [
        [float(np.abs(a - b).max()) for a, b in zip(*pair, strict=True)] for pair in zip(answers, expected, strict=True)
    ]
    shares = [agreement(found[0], wanted[0]) for found, wanted in zip(answers, expected, strict=True)]
    largest = dict(zip(OUTPUTS, map(max, zip(*differences, strict=True)), strict=True))
    return {"largest difference": largest, "equal pixels": statistics.mean(shares), "least equal": min(shares)}


def megabytes(command: list[str]) -> int:
    """Of a program that prints KiB."""
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return round(int(said.split()[-1]) * 1024 / 1e6)


def measure(name: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One model's row."""
    data = load_dataset(options.data)
    given = photos(data.val, options)
    torch_way, graph = torch_run(name, options)
    export_onnx(graph.model, graph.prompts, folder / "exported")
    paths = {FLOAT32: folder / "exported" / GRAPH, INT8: folder / "int8.onnx"}
    to_int8(Path(copyfile(paths[FLOAT32], paths[INT8])))
    if options.static:
        paths[STATIC] = fixed_ranges(paths[FLOAT32], folder / "static.onnx", photos(data.train, options))
    runs = {label: onnx_run(path) for label, path in paths.items()}
    expected = [torch_way(pixels) for pixels in given]
    differences = {label: compared(run, expected, given) for label, run in runs.items()}
    turns = {TORCH: torch_way, **runs, FLUSHED: onnx_run(paths[FLOAT32], flush=True)}
    np.save(folder / "pixels.npy", given[0])
    programs = {TORCH: [sys.executable, *sys.argv, "--models", name, "--child"]}
    for label, path in paths.items():
        programs[label] = [sys.executable, "-c", ALONE, str(path), str(folder / "pixels.npy")]
    return {
        "model": name,
        "size": options.size,
        "classes in the answers": len({int(c) for answers in expected for c in np.unique(answers[0].argmax(1))}),
        "beside PyTorch": differences,
        "seconds": take_turns(turns, given[0], options.rounds),
        "peak memory, MB": {label: megabytes(command) for label, command in programs.items()},
        "file, MB": {label: round(path.stat().st_size / 1e6, 1) for label, path in paths.items()},
    }


def child(options: argparse.Namespace) -> None:
    """Print the peak memory of PyTorch's way, KiB."""
    peak = PeakMemory(torch.device("cpu"))
    run, _ = torch_run(options.models[0], options)
    pixels = photos(load_dataset(options.data).val, options)[0]
    for _ in range(2):
        run(pixels)
    print((peak.read() or 0) // 1024)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["seem-lite"])
    parser.add_argument("--size", nargs=2, type=int, default=[256, 512], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--data", default="streets:snow")
    parser.add_argument("--prompts", type=Path, help="learned prompts of the model, in place of the default ones")
    parser.add_argument("--photos", type=int, default=1, help="how many the answers are compared on")
    parser.add_argument("--static", action="store_true", help="int8 with ranges that photos have shown, too")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        child(options)
        return
    about = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    about |= {"onnxruntime": onnxruntime.__version__, "threads": 1, "rounds": options.rounds}
    about |= {"data": options.data, "prompts": str(options.prompts or "default"), "photos": options.photos}
    rows = []
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(name, options, Path(folder)))
        print(json.dumps(rows[-1], indent=1), flush=True)
    if options.out:
        write_json(options.out, about | {"rows": rows})


if __name__ == "__main__":
    main()
