"""Train a small SEEM from scratch on generated clear-day streets, or further on a labelled data set.

    python tools/train_nano.py --out DIR                                     # what ships as seem-nano
    python tools/train_nano.py --data SPEC --init seem-nano --out DIR        # go on from a model

`promptseg.load_model(DIR)` takes what it writes. Seeded; ctrl-C or kill leaves a checkpoint in DIR
from which the same command goes on.

Losses as in SEEM's own training (matching on the last head, reused by the others), plus the
cross-entropy and dice of the semantic map, as that is what the model is judged by.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from nano_data import Example, PhotoExamples, generated_examples
from nano_names import SYNONYMS
from torch import Tensor, nn
from torch.nn import functional as F

import promptseg
from promptseg.assets import NANO_FOLDER
from promptseg.engine.runs import check_record, load_checkpoint, read_header, save_checkpoint
from promptseg.errors import PromptsegError
from promptseg.models.base import Prediction
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD
from promptseg.models.seem.config import NAMED, SeemConfig
from promptseg.models.seem.files.model_folder import load_model_folder, save_model_folder
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.tokenizer import Tokenizer
from promptseg.tasks.matched_loss import MatchingWeights, match, matched_loss
from promptseg.tasks.semantic import SemanticTask

TEMPLATES = ("{}.", "a photo of a {}.", "a photo of the {}.", "a {} in the street.", "a picture of {}.")
BACKGROUND = "background"
WEIGHT_DECAY = 0.05
WARM_UP = 100
AUXILIARY_WEIGHT = 0.3
SEMANTIC_WEIGHT = 3.0
CHECKPOINT_EVERY = 100
GENERATED = "streets:clear"
PREFETCH = 4
SCENE_SIZE = (128, 256)


class TextBatch:
    """Token ids of all classes under one random template and synonym each, drawn anew at every step."""

    def __init__(self, names: tuple[str, ...], tokenizer: Tokenizer, context: int, seed: int) -> None:
        self._names = (*names, BACKGROUND)
        self._tokenizer, self._context = tokenizer, context
        self._seed = seed

    def step(self, step: int) -> Tensor:
        """Token ids (C + 1, L)."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)

        def pick(options: tuple[str, ...]) -> str:
            return options[int(torch.randint(len(options), (), generator=generator))]

        # Half of the draws keep the class's own name, as that is what the default prompts use.
        words = [pick((name,) * max(1, len(SYNONYMS.get(name, ()))) + SYNONYMS.get(name, ())) for name in self._names]
        return self._tokenizer.encode([pick(TEMPLATES).format(word) for word in words], self._context)


def training_loss(network: SeemNetwork, examples: list[Example], token_ids: Tensor) -> Tensor:
    """Loss of one batch, mean over the images."""
    pixels = torch.stack([e.pixels for e in examples]).float()
    pixels = (pixels - torch.tensor(PIXEL_MEAN)[:, None, None]) / torch.tensor(PIXEL_STD)[:, None, None]
    features = network.encode(pixels.contiguous(memory_format=torch.channels_last))
    texts = F.normalize(network.text.encode_tokens(token_ids), dim=-1)
    heads = network.decode_all(features, network.decoder.query_feat.weight, network.decoder.query_embed.weight, texts)
    targets, weights = [e.segments for e in examples], MatchingWeights()
    last = heads[-1]
    matchings = [
        match(classes, masks.flatten(1), target, weights)
        for classes, masks, target in zip(last.class_logits, last.mask_logits, targets, strict=True)
    ]
    head_losses = [
        matched_loss(head.class_logits, head.mask_logits.flatten(2), targets, matchings, weights) for head in heads
    ]
    size = (pixels.shape[-2], pixels.shape[-1])
    prediction = Prediction(last.class_logits, last.mask_logits, size, (size,) * len(examples))
    semantic = SemanticTask().loss(prediction, [e.labels for e in examples])
    return head_losses[-1] + AUXILIARY_WEIGHT * torch.stack(head_losses[:-1]).sum() + SEMANTIC_WEIGHT * semantic


def parameter_groups(network: nn.Module) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels, none for norms, biases and embeddings."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        embedding = "embed" in name or "query_feat" in name
        (plain if parameter.ndim < 2 or embedding else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]


def prefetched(args: argparse.Namespace, short_side: int, start: int) -> Iterator[list[Example]]:
    """The examples of every step from `start` on, made ahead by a process of their own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_open_source, initargs=(args, short_side)) as pool:
        ahead = [pool.submit(_source_step, step) for step in range(start, min(start + PREFETCH, args.steps))]
        for step in range(start, args.steps):
            examples = ahead.pop(0).result()
            if step + PREFETCH < args.steps:
                ahead.append(pool.submit(_source_step, step + PREFETCH))
            yield examples


_source: Callable[[int], list[Example]]


def _open_source(args: argparse.Namespace, short_side: int) -> None:
    global _source
    torch.set_num_threads(1)
    _source = example_source(args, short_side)


def _source_step(step: int) -> list[Example]:
    return _source(step)


def train(network: SeemNetwork, short_side: int, texts: TextBatch, args: argparse.Namespace) -> None:
    """Run the steps that are left; writes a checkpoint now and then."""
    optimizer = torch.optim.AdamW(parameter_groups(network), lr=args.lr)
    path = args.out / "checkpoint.safetensors"
    record = {name: str(value) for name, value in vars(args).items() if name != "threads"}
    start = 0
    if path.exists():
        check_record(read_header(path).get("record"), record, path)
        start = load_checkpoint(path, network, optimizer)["step"]
    network.train()
    began = time.perf_counter()
    for step, examples in enumerate(prefetched(args, short_side, start), start):
        rate = args.lr * min(1.0, (step + 1) / WARM_UP) * (1 - step / args.steps) ** 0.9
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = training_loss(network, examples, texts.step(step))
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0 or step == args.steps - 1:
            seconds = (time.perf_counter() - began) / (step - start + 1)
            print(f"step {step}/{args.steps}  loss {loss.item():.3f}  {seconds:.2f} s per step", flush=True)
        if (step + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint(path, network, optimizer, {"step": step + 1, "record": record})


def model_card(args: argparse.Namespace, minutes: float, scores: dict[str, float]) -> str:
    """What a user must know of the weights."""
    recipe = f"{args.steps} steps of {args.batch} images, seed {args.seed}, AdamW {args.lr:g}"
    lines = [
        "---",
        "library_name: promptseg",
        "pipeline_tag: image-segmentation",
        "license: apache-2.0" if args.data == GENERATED else "license: other",
        "---",
        "",
        f"# {args.out.name}: a small SEEM",
        "",
        f"- data: {args.data}" + (f", from the weights of {args.init}" if args.init else ", from scratch"),
        f"- recipe: tools/train_nano.py, {recipe}",
        f"- this run: {minutes:.0f} minutes on {torch.get_num_threads()} CPU thread(s)",
        "- weights stored as float16",
        "",
        "Zero-shot mIoU (percent, class names as prompts):",
        "",
        "| data | mIoU |",
        "| --- | --- |",
        *(f"| {name} | {100 * score:.1f} |" for name, score in scores.items()),
        "",
        "Limits: it knows what it was trained on and nothing else.",
        "",
    ]
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=GENERATED, help="a data spec; generated streets are endless")
    parser.add_argument("--init", help="model name or folder to start from (default: from scratch)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--short-side", type=int, help="pixels; default: the model's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def build_network(args: argparse.Namespace) -> tuple[SeemNetwork, SeemConfig, Path]:
    """Network, config and tokenizer file to start from."""
    if args.init:
        folder = NANO_FOLDER if args.init == "seem-nano" else Path(args.init)
        network, config = load_model_folder(folder)
    else:
        folder, config = NANO_FOLDER, NAMED["seem-nano"]
        network = SeemNetwork(config)
    config = replace(config, short_side=args.short_side or config.short_side)
    network.requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, config, folder / "tokenizer.json"


def example_source(args: argparse.Namespace, short_side: int) -> Callable[[int], list[Example]]:
    """From a step to its examples."""
    if args.data == GENERATED:
        return lambda step: generated_examples("clear", args.seed, step, args.batch, SCENE_SIZE)
    photos = PhotoExamples(promptseg.load_dataset(args.data).train, short_side, args.seed)
    return lambda step: photos.step(step, args.batch)


def evaluate_all(folder: Path, spec: str) -> dict[str, float]:
    """Zero-shot mIoU of the written model on its own data and, for streets, on every condition."""
    model = promptseg.load_model(str(folder))
    specs = [f"streets:{c}" for c in ("clear", "fog", "night", "rain", "snow")] if spec == GENERATED else [spec]
    scores = {}
    for name in specs:
        data = promptseg.load_dataset(name)
        run = promptseg.fit(model, data.train[:1], method="zero-shot", progress=False)
        split = data.val if len(data.val) else data.train
        label = f"{name}, {'val' if split is data.val else 'its training images'}"
        result = promptseg.evaluate(model, run.prompts, split)
        scores[label] = float("nan") if result.miou is None else result.miou
        print(f"{label}: {100 * scores[label]:.1f} mIoU", flush=True)
    return scores


def main() -> None:
    """Train, write the model folder, evaluate it, and write the card."""
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    network, config, tokenizer_file = build_network(args)
    names = promptseg.load_dataset(args.data).label_space.names
    texts = TextBatch(names, Tokenizer.from_file(tokenizer_file), config.text.context, args.seed)
    began = time.perf_counter()
    train(network, config.short_side, texts, args)
    minutes = (time.perf_counter() - began) / 60
    save_model_folder(args.out, network, config, tokenizer_file, model_card(args, minutes, {}), torch.float16)
    scores = evaluate_all(args.out, args.data)
    save_model_folder(args.out, network, config, tokenizer_file, model_card(args, minutes, scores), torch.float16)
    (args.out / "checkpoint.safetensors").unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        main()
    except PromptsegError as error:
        sys.exit(f"train_nano: {error}")
