"""Zero-shot against learned prompts on one or more data sets: mIoU in percent, mean and deviation over seeds.

python benchmarks/few_shot.py --data streets:fog streets:night --seeds 0 1 2 --out results.json
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

import promptseg
from promptseg.files import write_json


def score(
    model_name: str, spec: str, method: str, shots: int, seed: int, settings: dict[str, int]
) -> dict[str, object]:
    """One cell: draw, fit, evaluate on the validation split."""
    model = promptseg.load_model(model_name)
    data = promptseg.load_dataset(spec)
    drawn = promptseg.draw_shots(data.train, k=shots, seed=seed)
    began = time.perf_counter()
    run = promptseg.fit(model, drawn, method=method, seed=seed, **settings)
    seconds = time.perf_counter() - began
    result = promptseg.evaluate(model, run.prompts, data.val)
    return {
        "data": spec,
        "method": method,
        "seed": seed,
        "shots": len(drawn),
        "fit_seconds": round(seconds, 1),
        **result.to_json(),
    }


def main() -> None:
    """Fill the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="seem-nano")
    parser.add_argument("--data", nargs="+", required=True, help="data specs; the validation split is evaluated")
    parser.add_argument("--methods", nargs="+", default=["zero-shot", "semprompt", "spaprompt", "ssprompt"])
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--short-side", type=int, help="input size, pixels; default: the model's own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = {"short_side": args.short_side} if args.short_side else {}
    cells = []
    for spec in args.data:
        for method in args.methods:
            rows = [score(args.model, spec, method, args.shots, seed, settings) for seed in args.seeds]
            cells += rows
            values = [100 * float(str(row["miou"])) for row in rows]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"{spec:16} {method:10} {statistics.mean(values):5.1f} +- {spread:.1f}  {values}", flush=True)
            if args.out:
                write_json(args.out, {"model": args.model, "threads": args.threads, "cells": cells})


if __name__ == "__main__":
    main()
