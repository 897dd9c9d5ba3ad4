"""The fusion equations and the methods over them."""

import pytest
import torch

from promptseg.errors import PromptsegError
from promptseg.methods.fusion import Fusion, FusionSettings
from promptseg.methods.ssprompt import SSPrompt, SSPromptSettings
from promptseg.prompts import Prompts


def defaults(n: int = 5, c: int = 3, d: int = 4) -> Prompts:
    generator = torch.Generator().manual_seed(7)
    return Prompts(
        spatial=torch.randn(n, d, generator=generator),
        semantic=torch.randn(c, d, generator=generator),
        background=torch.randn(1, d, generator=generator),
        class_names=("road", "sky", "car"),
        model_id="tiny",
        model_fingerprint="0" * 64,
    )


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
        ({"start": "random"}, "unknown start 'random': choose one of copy, noise, normal"),
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
    ("spatial", "semantic", "count"),
    [(False, False, 0), (True, False, 5 * 4 + 5), (False, True, 3 * 4 + 3), (True, True, 5 * 4 + 5 + 3 * 4 + 3)],
)
def test_only_what_a_method_names_is_trained(spatial: bool, semantic: bool, count: int) -> None:
    given = defaults()
    module = SSPrompt(given, SSPromptSettings(), seed=0, spatial=spatial, semantic=semantic)
    prompts = module()
    assert module.num_parameters() == count
    assert torch.equal(prompts.spatial, given.spatial) != spatial
    assert torch.equal(prompts.semantic, given.semantic) != semantic
    assert torch.equal(prompts.background, given.background)
    assert prompts.class_names == given.class_names


def test_parts_fuse_to_the_prompts() -> None:
    module = SSPrompt(defaults(), SSPromptSettings(), seed=3)
    parts, prompts = module.parts(), module()
    for kind in ("spatial", "semantic"):
        weight = parts[f"{kind}.weight"]
        fused = weight * parts[f"{kind}.learned"] + (1 - weight) * parts[f"{kind}.default"]
        assert torch.allclose(fused, getattr(prompts, kind))


def test_renormalise_keeps_the_length_of_the_semantic_defaults_only() -> None:
    given = defaults()
    prompts = SSPrompt(given, SSPromptSettings(renormalise=True), seed=0)()
    assert torch.allclose(prompts.semantic.norm(dim=1), given.semantic.norm(dim=1), rtol=1e-5)
    assert not torch.allclose(prompts.spatial.norm(dim=1), given.spatial.norm(dim=1), rtol=1e-3)


def test_a_learnable_background_is_trained_with_the_semantic_prompts() -> None:
    module = SSPrompt(defaults(), SSPromptSettings(learn_background=True), seed=0, spatial=False)
    assert module.num_parameters() == 3 * 4 + 3 + 4 + 1
    module().background.sum().backward()
    assert module.background is not None and module.background.learned.grad is not None


def test_the_seed_decides_the_start() -> None:
    first, again, other = (SSPrompt(defaults(), SSPromptSettings(), seed=s)() for s in (1, 1, 2))
    assert torch.equal(first.spatial, again.spatial)
    assert not torch.equal(first.spatial, other.spatial)
