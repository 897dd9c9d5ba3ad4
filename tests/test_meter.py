"""The memory meter, against an allocation of known size."""

import pytest
import torch

from promptseg.engine.meter import PeakMemory

SIZE = 200 * 2**20


def test_the_peak_holds_what_was_freed_again_and_a_new_meter_forgets_it() -> None:
    cpu = torch.device("cpu")
    before = PeakMemory(cpu).read()
    if before is None:
        pytest.skip("this system does not tell")
    meter = PeakMemory(cpu)
    block = torch.ones(SIZE, dtype=torch.uint8)
    del block
    peak, after = meter.read(), PeakMemory(cpu).read()
    assert peak is not None and after is not None
    assert peak - before > 0.9 * SIZE
    assert peak - after > 0.9 * SIZE
