"""The named networks hold exactly the tensors of the official checkpoints: name, shape, dtype and order.

Only inside a block of the text encoder the order is our own.
"""

from pathlib import Path

import pytest
import torch

from promptseg.files import read_json
from promptseg.models.seem.config import NAMED
from promptseg.models.seem.network import SeemNetwork

KEYS = Path(__file__).parent / "data/keys"


@pytest.mark.parametrize(
    ("name", "keys"), [("seem-focal-t-v1", "seem_focalt_v1"), ("seem-focal-l-v1", "seem_focall_v1")]
)
def test_names_shapes_dtypes_and_order_are_official(name: str, keys: str) -> None:
    official = read_json(KEYS / f"{keys}.json")
    with torch.device("meta"):
        network = SeemNetwork(NAMED[name])
    ours = {
        key: [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for key, tensor in network.state_dict().items()
    }
    assert ours == official["state_dict"]
    assert list(ours) == list(official["state_dict"])
    assert sum(parameter.numel() for parameter in network.parameters()) == official["num_parameters"]
    assert [key for key, _ in network.named_buffers()] == official["buffers"]
