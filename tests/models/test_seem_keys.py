"""The named networks hold exactly the tensors of the official checkpoints: name, shape and dtype.

Two of the lists are kept here, the others are looked for
in shared/seem/keys beside the repository.
"""

import pytest
import torch
from places import GOLDEN, SHARED

from promptseg.files import read_json
from promptseg.models.seem.config import NAMED
from promptseg.models.seem.network.seem_network import SeemNetwork

OWN = GOLDEN / "keys"
ALL = SHARED / "seem/keys"
OFFICIAL = {
    "seem-focal-t-v0": "seem_focalt_v0",
    "seem-focal-t-v1": "seem_focalt_v1",
    "seem-focal-t-demo": "seem_focalt_demo",
    "seem-focal-l-v0": "seem_focall_v0",
    "seem-focal-l-v1": "seem_focall_v1",
    "seem-focal-l-demo": "seem_focall_demo",
    "seem-davit-d3-v1": "seem_davitd3_v1",
    "seem-davit-d5-v1": "seem_davitd5_v1",
    "seem-sam-vit-b-v1": "seem_samvitb_v1",
    "seem-sam-vit-l-v1": "seem_samvitl_v1",
    "xdecoder-focal-t": "xdecoder_focalt",
    "xdecoder-focal-l": "xdecoder_focall",
}


def test_every_list_has_its_network() -> None:
    lists = {path.stem for folder in (OWN, ALL) for path in folder.glob("*.json")}
    assert lists <= set(OFFICIAL.values())
    assert NAMED.keys() - OFFICIAL.keys() == {"seem-lite", "xdecoder-focal-l-oq101"}


@pytest.mark.parametrize("name", OFFICIAL)
def test_names_shapes_and_dtypes_are_official(name: str) -> None:
    found = [folder / f"{OFFICIAL[name]}.json" for folder in (OWN, ALL)]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        pytest.skip("the list of this model is not here")
    official = read_json(path)
    with torch.device("meta"):
        network = SeemNetwork(NAMED[name])
    ours = {
        key: [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for key, tensor in network.state_dict().items()
    }
    assert ours == official["state_dict"]
    assert sum(parameter.numel() for parameter in network.parameters()) == official["num_parameters"]
    assert [key for key, _ in network.named_buffers()] == official["buffers"]
