"""The training loop: one for every model, method and task.

Images are encoded once; each step decodes a batch of cached features with the current prompts and
follows the gradient of the task's loss. What is drawn at a step depends on the seed and the step
alone, so a resumed run ends at the same prompts as an uninterrupted one.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptseg.data.sample import Sample
from promptseg.engine.augment import Augmentation
from promptseg.engine.drawn_classes import DrawnClasses, answers
from promptseg.engine.held_signals import HeldSignals
from promptseg.engine.runs import CHECKPOINT, Run, check_record, load_checkpoint, read_header, save_checkpoint
from promptseg.engine.workers import Workers
from promptseg.errors import PromptsegError
from promptseg.features.cached_decoder import AdaptedDecoder, CachedDecoder, Decoder, LossStrides
from promptseg.features.encode import Encoded, encode_samples
from promptseg.features.features_cache import FeaturesCache
from promptseg.methods.module import PromptModule
from promptseg.models.adapted import changes_encoder
from promptseg.models.base import Prediction, PromptableSegmenter, named
from promptseg.progress import Progress
from promptseg.prompts import Prompts
from promptseg.record import FitRecord, FitSettings
from promptseg.seeds import generator_at
from promptseg.tasks.base import Task

CHECKPOINT_EVERY = 20
"""Steps between two checkpoints: what a killed run loses at most."""

AUXILIARY_STRIDE = 8
"""Earlier heads are compared at every eighth pixel each way: they only have to tell the next layer where to look."""


class Trainer:
    """One run: its loop and its files."""

    def __init__(
        self,
        model: PromptableSegmenter,
        defaults: Prompts,
        module: PromptModule,
        task: Task[Any],
        record: FitRecord,
        cache: FeaturesCache,
        out: Path | None,
        workers: Workers,
    ) -> None:
        """Set up a run; an `out` with a checkpoint goes on from it.

        Args:
            model: the frozen segmenter.
            defaults: the prompts of the kinds that are not learned, on the model's device.
            module: what is trained, there too.
            task: gives targets and loss.
            record: steps, batches, optimiser, inputs, and the seed of the order of the images.
            cache: keeps the features of the images.
            out: folder of the run, or none to keep nothing on disk.
            workers: the processes of the fit.

        Raises:
            PromptsegError: the method would learn what the model does not let it.
        """
        learnable = {kind.name for kind in defaults.spec if kind.learned}
        if beyond := sorted(module.learned_kinds - learnable):
            raise PromptsegError(
                f"{record.method} learns {beyond[0]!r} prompts, {model.id} lets {', '.join(sorted(learnable))} be"
                " learned: choose another method or model"
            )
        self._model, self._defaults, self._module, self._task = model, defaults, module, task
        self._record, self._settings, self._cache, self._out = record, record.settings, cache, out
        self._workers = workers
        self._encodes = changes_encoder(model, module.weights())
        self._views = Augmentation(record.settings.zoom, record.settings.jitter, record.seed)
        self._drawn = DrawnClasses(record.settings.absent_classes, record.seed)

    def run(self, shots: Sequence[Sample], progress: Progress) -> tuple[list[float], float]:
        """Train all steps that are left; the losses of all steps, and the seconds spent in them."""
        if not self._module.num_parameters():
            return [], 0.0
        progress = progress if self._workers.is_main else Progress(False)
        with progress.running(), _subnormals_as_zero():
            return self._train(shots, progress)

    def keep(self, run: Run, out: Path) -> Run:
        """Write the finished run into its folder, in place of the checkpoint."""
        if self._workers.is_main:
            run.save(out)
            (out / CHECKPOINT).unlink(missing_ok=True)
        self._workers.wait()
        return replace(run, out=out)

    def _train(self, shots: Sequence[Sample], progress: Progress) -> tuple[list[float], float]:
        """Returns the losses of all steps, and the seconds spent in them, those before an interruption included."""
        settings = self._settings
        optimizer = build_optimizer(self._module, settings)
        losses, before = self._restore(optimizer)
        self._workers.wait()  # before the first checkpoint is written, all must have looked for one
        start = len(losses)
        drawn = draw_batches(len(shots), settings.batch_size, settings.flip, self._record.seed, start)
        batches = list(islice(drawn, settings.steps - start))
        looked_at = sorted({index for batch in batches for index, _ in batch})  # of many photos, not all
        views = encode_samples(
            self._model,
            [shots[index] for index in looked_at],
            self._task,
            cache=self._cache,
            progress=progress,
            short_side=settings.short_side,
            flip=settings.flip,
            encode=not self._encodes,
        )
        self._task.check_targets(view.target for of_photo in views for view in of_photo)
        encoded = dict(zip(looked_at, views, strict=True))
        if where := self._cache.changed_summary():
            progress.say(where)
        decoder = self.decoder()
        began = time.perf_counter() - before
        with HeldSignals() as held:
            for step in progress.track(range(start, settings.steps), "fit", done=start):
                set_rate(optimizer, settings.rate_at(step))
                batch = [encoded[index][view] for index, view in batches[step - start]]
                losses.append(self.step(optimizer, decoder, batch, step))
                progress.note(f"loss {losses[-1]:.3f}")
                due = len(losses) % CHECKPOINT_EVERY == 0 and len(losses) < settings.steps
                if due or held.asked:
                    self._save(optimizer, losses, time.perf_counter() - began)
                held.deliver()
        return losses, time.perf_counter() - began

    def decoder(self) -> Decoder:
        """The model's decoder as the steps of this run take it.

        Raises:
            PromptsegError: the settings ask for compiled kernels where weights or classes change at every step.
        """
        settings = self._settings
        strides = None
        if self._task.samples_masks:
            strides = LossStrides(settings.loss_stride, self._earlier_stride if settings.auxiliary else None)
        if self._module.weights():
            if settings.compile:
                raise PromptsegError(
                    f"compile is true, but {self._record.method} has other weights at every step: leave compile out"
                )
            return AdaptedDecoder(self._model, settings.auxiliary > 0, settings.recompute, strides)
        if settings.compile and settings.absent_classes is not None:
            raise PromptsegError(
                f"compile is true, but {self._model.id} decodes other classes at every step: give absent_classes=null"
                " (all classes), or leave compile out"
            )
        return CachedDecoder(
            self._model,
            self._module.learned_kinds,
            settings.auxiliary > 0,
            strides,
            settings.compile,
            getattr(torch, settings.features_dtype),
        )

    def step(self, optimizer: torch.optim.Optimizer, decoder: Decoder, batch: Sequence[Encoded], number: int) -> float:
        """One step, the `number`-th; its loss.

        Each group of images goes back to the prompts before the next comes, the method once for all.
        """
        optimizer.zero_grad(set_to_none=True)
        with self._precision():
            given, weights = self._module(), self._module.weights()
        learned = {name: given[name] for name in sorted(self._module.learned_kinds)}
        leaves, weight_leaves = _cut(learned), _cut(weights)
        if self._encodes:  # else what is kept of the images is of the images as they are
            batch = self._views(batch, self._task, number)
        classes = self._drawn(batch, self._task, len(self._defaults.label_space), number)
        prompts = replace(self._defaults.updated(given | leaves), weights=weight_leaves)
        value = torch.zeros((), device=self._model.device)
        for group in _groups(self._workers.part(batch), at_once=1 if value.device.type == "cpu" else len(batch)):
            with self._precision():
                heads = answers(decoder, group, prompts, classes)
            loss = self._loss(group, heads) * (len(group) / len(batch))
            loss.backward()
            value += loss.detach()
        every_leaf = (*leaves.values(), *weight_leaves.values())
        gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in every_leaf]
        self._workers.add_up([value, *gradients])
        if not math.isfinite(value.item()):
            raise PromptsegError(f"the loss is {value.item()}: lower the learning rate (rate) and fit again")
        torch.autograd.backward([*learned.values(), *weights.values()], gradients)
        optimizer.step()
        return value.item()

    @property
    def _earlier_stride(self) -> int:
        return max(self._settings.loss_stride, AUXILIARY_STRIDE)

    def _precision(self) -> torch.autocast:
        """Numbers that method and decoder compute in; the loss is always float32."""
        short = self._settings.precision == "bfloat16"
        return torch.autocast(self._model.device.type, torch.bfloat16, enabled=short)

    def _loss(self, group: Sequence[Encoded], heads: Sequence[Prediction]) -> Tensor:
        """Loss of images that share a canvas: that of the last head, and of the others if they count."""
        targets = [item.target for item in group]
        *earlier, last = heads
        loss = self._task.loss(last, targets, self._settings.loss_stride)
        for prediction in earlier:
            coarse = self._task.loss(prediction, targets, self._earlier_stride)
            loss = loss + self._settings.auxiliary * coarse
        return loss

    def _save(self, optimizer: torch.optim.Optimizer, losses: list[float], seconds: float) -> None:
        if self._out is not None and self._workers.is_main:
            about = {"model": named(self._model), "record": self._record.to_json()}
            header = about | {"losses": losses, "seconds": seconds}
            save_checkpoint(self._out / CHECKPOINT, self._module, optimizer, header)

    def _restore(self, optimizer: torch.optim.Optimizer) -> tuple[list[float], float]:
        """Losses of the steps done and the seconds they took; none if there is no checkpoint."""
        if self._out is None or not (self._out / CHECKPOINT).exists():
            return [], 0.0
        path = self._out / CHECKPOINT
        header = read_header(path)
        check_record(header, {"model": named(self._model)}, path)
        check_record(header.get("record"), self._record.request(), path)
        load_checkpoint(path, self._module, optimizer)
        return list(header["losses"]), float(header["seconds"])


@contextmanager
def _subnormals_as_zero() -> Iterator[None]:
    """Let this thread take numbers below float32's full precision (1.2e-38) for zero.

    Sharp masks and their gradients are full of them, they change nothing, and Intel processors need some hundred cycles
    for each: with them a step takes two to three times as long.
    """
    before = bool(torch.tensor(1e-39) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _cut(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers as the start of a graph of their own."""
    return {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}


def draw_batches(count: int, batch_size: int, flip: bool, seed: int, start: int = 0) -> Iterator[list[tuple[int, int]]]:
    """Endless batches of (image, view) from step `start` on; view 1 is the mirrored image.

    Every epoch is a fresh permutation of the `count` images. A draw depends on seed and position alone.
    """
    position = start * batch_size
    order, views, epoch = torch.empty(0), torch.empty(0), -1
    while True:
        batch = []
        for _ in range(batch_size):
            if position // count != epoch:
                epoch = position // count
                order, views = _epoch(count, flip, seed, epoch)
            index = position % count
            batch.append((int(order[index]), int(views[index])))
            position += 1
        yield batch


def _epoch(count: int, flip: bool, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    generator = generator_at(seed, epoch)
    return torch.randperm(count, generator=generator), torch.randint(1 + flip, (count,), generator=generator)


def build_optimizer(module: PromptModule, settings: FitSettings) -> torch.optim.Optimizer:
    """One parameter group per parameter, at the method's own relative rate."""
    scales = module.rate_scales()
    groups = [{"params": [p], "scale": scales.get(name, 1.0)} for name, p in module.named_parameters()]
    kind: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW
    if settings.optimizer == "sgd":
        kind = partial(torch.optim.SGD, momentum=settings.momentum)
    optimizer = kind(groups, lr=settings.rate, weight_decay=settings.weight_decay)
    set_rate(optimizer, settings.rate)
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, base: float) -> None:
    """Set the base rate; every group has its own multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = group["scale"] * base


def _groups(batch: Sequence[Encoded], at_once: int) -> list[list[Encoded]]:
    """At most `at_once` images that share a canvas. A CPU is no faster with more, and holds less with one."""
    ordered = sorted(batch, key=lambda item: item.canvas)
    shared = [list(group) for _, group in groupby(ordered, key=lambda item: item.canvas)]
    return [group[start : start + at_once] for group in shared for start in range(0, len(group), at_once)]
