"""Masked attention against the formula as it is written, with every mixture of frozen and learned inputs."""

import pytest
import torch
from torch import Tensor

from promptseg.models.seem.network.masked_attention import masked_attention


def written_out(q: Tensor, k: Tensor, v: Tensor, blocked: Tensor) -> Tensor:
    scores = q @ k.mT / q.shape[3] ** 0.5
    return scores.masked_fill(blocked[:, None], float("-inf")).softmax(3) @ v


@pytest.mark.parametrize("learned", ["", "q", "qk", "qkv", "v"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attention_and_slopes_are_those_of_the_formula(learned: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = {"q": 7, "k": 40, "v": 40}
    given = {name: torch.randn(2, n, 3, 5, generator=generator).to(dtype) for name, n in sizes.items()}
    given = {name: rows.transpose(1, 2).requires_grad_(name in learned) for name, rows in given.items()}
    blocked = torch.rand(2, 7, 40, generator=generator) < 0.6
    blocked[0, 3] = torch.arange(40) > 0  # a single place is left open
    leaves = [given[name] for name in learned]
    direction = torch.randn(2, 3, 7, 5, generator=generator).to(dtype)
    answers, slopes = [], []
    for attend in (masked_attention, written_out):
        taken = attend(*given.values(), blocked)
        answers.append(taken.detach())
        slopes.append(torch.autograd.grad((direction * taken).sum(), leaves) if leaves else ())
    torch.testing.assert_close(*answers)
    torch.testing.assert_close(*slopes)


def test_blocked_places_have_no_part_in_it() -> None:
    q, k, v = torch.randn(3, 1, 2, 9, 4).unbind(0)
    blocked = torch.zeros(1, 9, 9, dtype=torch.bool)
    blocked[:, :, 4:] = True
    other = k.clone(), v.clone()
    for rows in other:
        rows[:, :, 4:] += 1e6
    for one in (q, q.clone().requires_grad_()):
        torch.testing.assert_close(masked_attention(one, k, v, blocked), masked_attention(one, *other, blocked))
