"""Models that decode one class after the other learn from the classes of an image and a few others."""

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_segmenter
from tiny_sams import sam_spec
from torch.nn import functional

import promptseg
from promptseg.data.images import resize_labels
from promptseg.engine.defaults import default_prompts
from promptseg.engine.drawn_classes import DrawnClasses
from promptseg.errors import PromptsegError
from promptseg.features.encode import Encoded, image_tensor
from promptseg.models.base import PromptableSegmenter
from promptseg.tasks.semantic import SemanticTask

STREETS = promptseg.load_dataset("streets:fog?size=64x32&train=4&val=2&test=1").train
FEW = {"batch_size": 2, "progress": False, "flip": False}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PromptableSegmenter:
    return promptseg.load_model(sam_spec(Path(tmp_path_factory.mktemp("sam")), "sam"), "cpu")


def classes_of(index: int) -> int:
    labels = STREETS[index].semantic()
    return len(set(labels[labels != 255].tolist()))


def test_only_the_classes_of_the_images_compete_where_no_other_is_drawn(model: PromptableSegmenter) -> None:
    run = promptseg.fit(
        model, STREETS[:1], "coop", steps=1, absent_classes=0, loss_stride=1, loss="cross-entropy", **FEW
    )
    prompts, sample = default_prompts(model, STREETS[0].label_space), STREETS[0]
    pixels = image_tensor(model, sample.image())
    height, width = pixels.shape[1:]
    labels = torch.from_numpy(resize_labels(sample.semantic(), (height, width))).long()
    with torch.no_grad():
        found = model.decode(model.encode_image([pixels]), prompts)
    masks = functional.interpolate(found.mask_logits, found.canvas, mode="bilinear")[0, :, :height, :width].sigmoid()
    scores = torch.einsum("nc,nhw->chw", found.class_logits[0].softmax(-1)[:, :-1], masks)
    shown = labels[labels != 255].unique()
    shares = scores[shown] / scores[shown].sum(0)
    losses = torch.cat([-shares[index][labels == one].log() for index, one in enumerate(shown.tolist())])
    assert run.losses[0] == pytest.approx(losses.mean().item(), rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "part", "given"),
    [("sam", "mask_decoder", "sparse_prompt_embeddings"), ("sam3", "detr_encoder", "text_features")],
)
def test_as_many_classes_are_decoded_as_are_shown_and_drawn(kind: str, part: str, given: str, tmp_path: Path) -> None:
    model: Any = promptseg.load_model(sam_spec(tmp_path, kind), "cpu")
    decoded = 0

    def counted(module: torch.nn.Module, arguments: object, named: dict[str, torch.Tensor]) -> None:
        nonlocal decoded
        decoded += named[given].flatten(0, -3).shape[0]

    hook = getattr(model.network, part).register_forward_pre_hook(counted, with_kwargs=True)
    try:
        promptseg.fit(model, STREETS[:1], "semprompt", steps=1, absent_classes=3, **FEW)
    finally:
        hook.remove()
    # The batch is the one image twice, and what is not kept of a chunk of classes is computed again on the way back.
    assert decoded == 4 * (classes_of(0) + 3)


def test_the_draw_follows_the_seed_and_all_classes_are_as_none_left_out(model: PromptableSegmenter) -> None:
    def losses(seed: int, absent: int | None) -> list[float]:
        chosen = {"steps": 3, "seed": seed, "absent_classes": absent}
        return promptseg.fit(model, STREETS, "semprompt", **chosen, **FEW).losses

    assert losses(0, 2) == losses(0, 2) != losses(0, None) == losses(0, 19)


def test_a_fit_that_goes_on_draws_what_it_would_have_drawn(
    model: PromptableSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"absent_classes": 2, "steps": 4, **FEW}
    whole = promptseg.fit(model, STREETS[:2], "semprompt", **chosen)
    step, count = torch.optim.AdamW.step, 0

    def stopped(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            signal.raise_signal(signal.SIGINT)
        return step(*arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        promptseg.fit(model, STREETS[:2], "semprompt", out=tmp_path, **chosen)
    again = promptseg.fit(model, STREETS[:2], "semprompt", out=tmp_path, resume=True, **chosen)
    assert again.losses == whole.losses


def test_all_images_of_a_step_see_the_same_classes_however_they_are_grouped() -> None:
    targets = [torch.tensor([[0, 3]], dtype=torch.uint8), torch.tensor([[7, 255]], dtype=torch.uint8)]
    batch = [Encoded(torch.empty(0), "", lambda: pytest.fail("not encoded"), (1, 2), one) for one in targets]
    drawn = [DrawnClasses(5, seed=0)(batch, SemanticTask(), 20, step) for step in range(40)]
    assert all(one is not None and len(one) == 8 and {0, 3, 7} <= set(one.tolist()) for one in drawn)
    counts = torch.bincount(torch.cat([one for one in drawn if one is not None]), minlength=20)
    assert counts[[0, 3, 7]].tolist() == [40] * 3 and counts.min() > 0


def test_some_classes_of_prompts_are_their_rows_and_gradients_reach_them(tmp_path: Path) -> None:
    model = promptseg.load_model(sam_spec(tmp_path, "sam3"), "cpu")
    prompts = default_prompts(model, STREETS[0].label_space)
    leaf = prompts.kinds["semantic"].clone().requires_grad_()
    some = prompts.updated({"semantic": leaf}).among(torch.tensor([2, 5]))
    assert some.class_names == (prompts.class_names[2], prompts.class_names[5])
    assert torch.equal(some.fixed["tokens"], prompts.fixed["tokens"][[2, 5]])
    assert torch.equal(some.kinds["spatial"], prompts.kinds["spatial"])
    some.kinds["semantic"].sum().backward()
    assert leaf.grad is not None and leaf.grad.any(1).nonzero()[:, 0].tolist() == [2, 5]


def test_objects_are_learned_among_the_classes_of_the_images(tmp_path: Path) -> None:
    model = promptseg.load_model(sam_spec(tmp_path, "sam3"), "cpu")
    run = promptseg.fit(model, STREETS[:2], "semprompt", "panoptic", steps=2, absent_classes=1, **FEW)
    assert all(map(math.isfinite, run.losses))


def test_images_without_labels_have_one_class_decoded(model: PromptableSegmenter) -> None:
    blank = Encoded(torch.empty(0), "", lambda: pytest.fail("not encoded"), (1, 2), torch.full((1, 2), 255).byte())
    (one,) = DrawnClasses(0, seed=0)([blank], SemanticTask(), 20, 0)
    assert 0 <= one < 20


def test_what_cannot_be_is_one_line(model: PromptableSegmenter) -> None:
    with pytest.raises(PromptsegError, match="decodes other classes at every step: give absent_classes=null"):
        promptseg.fit(model, STREETS[:1], "semprompt", compile=True, steps=1, **FEW)
    with pytest.raises(PromptsegError, match="absent_classes is 3: .* decodes all classes at once; leave it out"):
        promptseg.fit(tiny_segmenter(), STREETS[:1], "semprompt", absent_classes=3, **FEW)
    run = promptseg.fit(tiny_segmenter(), STREETS[:1], "zero-shot", **FEW)
    assert run.record.settings.absent_classes is None


def test_a_wrong_number_is_refused(model: PromptableSegmenter) -> None:
    with pytest.raises(PromptsegError, match="absent_classes is -1"):
        promptseg.fit(model, STREETS[:1], "semprompt", absent_classes=-1, **FEW)
