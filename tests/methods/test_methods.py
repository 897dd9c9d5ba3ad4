"""The fusion equations and the methods over them."""

from dataclasses import replace

import pytest
import torch

from promptseg.errors import PromptsegError
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.methods.fusion import Fusion, FusionSettings
from promptseg.methods.ssprompt import SSPrompt, SSPromptSettings
from promptseg.prompts import PromptKind, Prompts, Role

BOTH: tuple[Role, ...] = ("mask", "class")
SPEC = (PromptKind("spatial", "mask", 4), PromptKind("semantic", "class", 4), PromptKind("background", "void", 4))
SPACE = LabelSpace("toy", tuple(ClassInfo(name, (0, 0, 0)) for name in ("road", "sky", "car")))


def defaults() -> Prompts:
    generator = torch.Generator().manual_seed(7)
    rows = {"spatial": 5, "semantic": 3, "background": 1}
    kinds = {name: torch.randn(count, 4, generator=generator) for name, count in rows.items()}
    return Prompts(SPEC, kinds, {}, SPACE, "tiny", "0" * 64)


def fusion(**settings: object) -> Fusion:
    return Fusion(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), FusionSettings(**settings), torch.Generator().manual_seed(0))


def test_fusion_is_equation_4_by_hand() -> None:
    module = fusion(weight=0.25)
    with torch.no_grad():
        module.learned.copy_(torch.tensor([[5.0, 4.0], [4.0, -2.0]]))
    assert torch.equal(module(), torch.tensor([[2.0, 1.0], [1.0, 1.0]]))


@pytest.mark.parametrize("weight_map", ["sigmoid", "clamp"])
def test_a_learned_weight_starts_where_told_and_stays_in_its_range(weight_map: str) -> None:
    module = fusion(weight_map=weight_map, weight_start=0.3)
    assert torch.allclose(module.weight(), torch.full((2, 1), 0.3))
    with torch.no_grad():
        module.free_weight.copy_(torch.tensor([[-40.0], [40.0]]))
    assert torch.allclose(module.weight(), torch.tensor([[0.0], [1.0]]))


def test_copy_starts_at_the_default_and_noise_near_it() -> None:
    assert torch.equal(fusion(start="copy")(), fusion().default)
    big = Fusion(torch.randn(2000, 8), FusionSettings(start="noise", start_noise=0.3), torch.Generator().manual_seed(0))
    assert (big.learned - big.default).std().item() == pytest.approx(0.3 * big.default.std().item(), rel=0.05)
    normal = Fusion(torch.randn(2000, 8) + 9, FusionSettings(start="normal"), torch.Generator().manual_seed(0))
    assert abs(normal.learned.mean().item()) < 0.1


def test_weight_one_leaves_the_default_out_and_weight_zero_the_learned() -> None:
    assert torch.equal(fusion(weight=1)(), fusion(weight=1).learned)
    assert torch.equal(fusion(weight=0)(), fusion().default)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "random"}, "unknown start 'random': choose one of copy, noise, normal, prototype"),
        ({"weight": 1.5}, "weight is 1.5: give 'learned' or a number from 0 to 1"),
        ({"weight": "half"}, "weight is 'half': give 'learned' or a number from 0 to 1"),
        ({"weight_start": 1.0}, "weight_start is 1.0: give a number between 0 and 1"),
        ({"weight_map": "tanh"}, "unknown weight_map 'tanh': choose one of clamp, sigmoid"),
        ({"start_noise": -1}, "start_noise is -1: give a number of at least 0"),
    ],
)
def test_settings_out_of_range_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(PromptsegError) as error:
        FusionSettings(**settings)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("roles", "kinds", "count"),
    [
        ((), set(), 0),
        (("mask",), {"spatial"}, 5 * 4 + 5),
        (("class",), {"semantic"}, 3 * 4 + 3),
        (("mask", "class"), {"spatial", "semantic"}, 5 * 4 + 5 + 3 * 4 + 3),
    ],
)
def test_only_what_a_method_names_is_trained(roles: tuple[Role, ...], kinds: set[str], count: int) -> None:
    module = SSPrompt(defaults(), SSPromptSettings(), 0, roles)
    assert module.num_parameters() == count
    assert set(module()) == module.learned_kinds == kinds


def test_parts_fuse_to_the_prompts() -> None:
    module = SSPrompt(defaults(), SSPromptSettings(), 3, BOTH)
    parts, prompts = module.parts(), module()
    for kind in ("spatial", "semantic"):
        weight = parts[f"{kind}.weight"]
        fused = weight * parts[f"{kind}.learned"] + (1 - weight) * parts[f"{kind}.default"]
        assert torch.allclose(fused, prompts[kind])


def test_renormalise_keeps_the_length_of_the_semantic_defaults_only() -> None:
    given = defaults().kinds
    fused = SSPrompt(defaults(), SSPromptSettings(renormalise=True), 0, BOTH)()
    lengths = {kind: (fused[kind].norm(dim=1), given[kind].norm(dim=1)) for kind in fused}
    assert torch.allclose(*lengths["semantic"], rtol=1e-5)
    assert not torch.allclose(*lengths["spatial"], rtol=1e-3)


def test_a_learnable_background_is_trained_with_the_semantic_prompts() -> None:
    settings = SSPromptSettings(learn_background=True)
    module = SSPrompt(defaults(), settings, 0, ("class",))
    assert module.num_parameters() == 3 * 4 + 3 + 4 + 1
    module()["background"].sum().backward()
    assert set(module.learned_kinds) == {"semantic", "background"}
    assert all(p.grad is not None for name, p in module.named_parameters() if "background" in name)
    assert SSPrompt(defaults(), settings, 0, ("mask",)).learned_kinds == {"spatial"}


def test_a_model_without_background_prompts_has_none_to_learn() -> None:
    bare = replace(defaults(), kinds={n: t for n, t in defaults().kinds.items() if n != "background"})
    with pytest.raises(PromptsegError, match="learn_background is true: tiny has no background prompt"):
        SSPrompt(bare, SSPromptSettings(learn_background=True), 0, ("class",))


def test_the_seed_decides_the_start() -> None:
    first, again, other = (SSPrompt(defaults(), SSPromptSettings(), s, BOTH)()["spatial"] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
