"""Prompts of a toy model, for tests that need none."""

from dataclasses import replace

import torch

from promptseg.engine.settings import PRESETS
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.prompts import PromptKind, Prompts
from promptseg.record import Draw, FitRecord

CLASSES = LabelSpace("toy", (ClassInfo("road", (200, 30, 30)), ClassInfo("sky", (30, 30, 200), is_thing=True)))
SPEC = (
    PromptKind("spatial", "mask", 6, most=9, optional=True),
    PromptKind("position", "mask", 6, most=9, optional=True),
    PromptKind("semantic", "class", 5),
    PromptKind("tokens", "class", 3, learned=False),
    PromptKind("background", "void", 5, optional=True),
)
RECORD = FitRecord(
    "ssprompt",
    "semantic",
    "tuned",
    0,
    settings=replace(PRESETS["tuned"], short_side=64),
    method_settings={"weight": "learned", "start_noise": 0.3},
    task_settings={"loss": "cross-entropy"},
    draw=Draw(("a", "b"), dataset="toys", split="train", rule="cover", k=1, seed=0, drawn={"road": 2}),
    licence="of the model: MIT",
    metrics={"miou": 0.5},
)


def toy_prompts(seed: int = 0) -> Prompts:
    """Four spatial prompts, two classes with fixed tokens, and a background, as a fit leaves them."""
    generator = torch.Generator().manual_seed(seed)
    kinds = {"spatial": (4, 6), "semantic": (2, 5), "background": (1, 5)}
    return Prompts(
        SPEC,
        kinds={name: torch.randn(shape, generator=generator) for name, shape in kinds.items()},
        fixed={"tokens": torch.tensor([[True, True, False], [True, False, False]])},
        label_space=CLASSES,
        model_id="tiny",
        model_fingerprint="ab" * 32,
        parts={"spatial.weight": torch.full((4, 1), 0.25)},
        record=RECORD,
    )
