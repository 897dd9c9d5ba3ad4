"""Seconds and memory of each stage of one network with random weights, on one image of 512 x 1024, on the CPU.

    python benchmarks/seem_stages.py --model seem-focal-t-v1 --threads 1 --repeats 3

Prints one JSON object. Memory is the peak of the process so far: with the weights alone, with the stages that take no
gradient, and with all. `load` is the mean number of processes that wanted a processor in the last minute. Image
features are taken without gradient, as prompt learning takes them; `decoder_forward` keeps gradients for queries,
positions and class embeddings, and each `backward` goes to those.
"""

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from promptseg.models.seem.backbones.common import STAGES
from promptseg.models.seem.config import NAMED
from promptseg.models.seem.network.seem_network import HeadOutputs, SeemNetwork

SIZE = (512, 1024)
CLASSES = 20
PEAKS: dict[str, float] = {}
"""Peak memory of the process up to a point, GB."""
CALLS: dict[str, list[tuple[float, float]]] = {}
"""Seconds of wall time and of processor time, per stage."""


def timed(stage: str, work: Callable[[], Any]) -> Any:
    """Do the work and note its seconds under the stage's name."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    CALLS.setdefault(stage, []).append((time.perf_counter() - wall, time.process_time() - processor))
    return result


def note_memory(point: str) -> None:
    """Note the peak memory so far, at the first call for each point."""
    PEAKS.setdefault(point, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2))


def medians(clock: int) -> dict[str, float]:
    """Median seconds per stage by one of the two clocks."""
    return {stage: round(statistics.median(call[clock] for call in calls), 3) for stage, calls in CALLS.items()}


def loss(heads: list[HeadOutputs]) -> Tensor:
    """A loss that reaches every logit of the heads and costs next to nothing itself."""
    terms = [head.class_logits.mean() + head.mask_logits.mean() for head in heads]
    return torch.stack(terms).sum()


def one_round(network: SeemNetwork, image: Tensor, prompts: tuple[Tensor, Tensor, Tensor]) -> None:
    """Every stage once."""
    with torch.no_grad():
        maps = timed("backbone", lambda: network.backbone(image))
        pixels = timed("pixel_decoder", lambda: network.sem_seg_head.pixel_decoder(maps[-STAGES:]))
        features = timed("resize_mask_features", lambda: network.features(pixels, SIZE, (SIZE,)))
        timed("decoder_no_grad", lambda: network.decode(features, *prompts))
    note_memory("forward")
    last = timed("decoder_forward", lambda: network.decode(features, *prompts))
    value = loss([last])
    timed("backward_last_head", lambda: torch.autograd.grad(value, prompts))
    heads = timed("decoder_forward_all_heads", lambda: network.decode_all(features, *prompts))
    total = loss(heads)
    timed("backward_all_heads", lambda: torch.autograd.grad(total, prompts))
    note_memory("backward")


def main() -> None:
    """Run the benchmark and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(NAMED), default="seem-focal-t-v1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    config = NAMED[arguments.model]
    network = SeemNetwork(config).eval().requires_grad_(False)
    note_memory("weights")
    queries, positions = network.decoder.query_feat.weight.clone(), network.decoder.query_embed.weight.clone()
    text = torch.nn.functional.normalize(torch.randn(CLASSES, config.text_dim), dim=1)
    prompts = (queries.requires_grad_(), positions.requires_grad_(), text.requires_grad_())
    for _ in range(arguments.repeats):
        one_round(network, torch.randn(1, 3, *config.canvas(*SIZE)), prompts)
    report = vars(arguments) | {
        "size": SIZE,
        "canvas": config.canvas(*SIZE),
        "classes": CLASSES,
        "torch": torch.__version__,
        "wall_seconds": medians(0),
        "processor_seconds": medians(1),
        "peak_memory_gb": PEAKS,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
