"""Official configuration files: every entry that shapes the network is taken, and what is not computed is refused."""

import copy
import json

import pytest
import torch
import yaml
from golden import golden_folders

from promptseg.errors import PromptsegError
from promptseg.files import read_json
from promptseg.models.seem.config import NAMED
from promptseg.models.seem.files.importing import import_checkpoint
from promptseg.models.seem.files.model_folder import load_model_folder
from promptseg.models.seem.files.official import read_official, read_official_file
from promptseg.tensor_files import fingerprint

RECORDS = {path.stem: path for folder in reversed(golden_folders()) for path in sorted(folder.glob("weights_*.json"))}
FOCAL, DAVIT, X_DECODER = "weights_focaldw_demo", "weights_davitd5_v1", "weights_xdecoder_focaldw"
VOCAB = 99


def official(name=FOCAL, **changes):
    """The configuration in a golden record with entries changed: dotted names with `__`, None leaves one out."""
    if name not in RECORDS:
        pytest.skip(f"{name} is not among the golden files here")
    content = copy.deepcopy(read_json(RECORDS[name])["config"])
    for entry, value in changes.items():
        *parents, last = entry.split("__")
        section = content
        for parent in parents:
            section = section[parent]
        if value is None:
            del section[last]
        else:
            section[last] = value
    return content


@pytest.mark.parametrize("path", RECORDS.values(), ids=RECORDS)
def test_what_the_official_code_was_run_with_is_read(path, tmp_path):
    content = read_json(path)["config"]
    config = read_official(content, VOCAB)
    assert config.text.vocab == VOCAB and config.hidden_dim == content["MODEL"]["DECODER"]["HIDDEN_DIM"]
    (tmp_path / "official.yaml").write_text(yaml.safe_dump(content))
    assert read_official_file(tmp_path / "official.yaml", VOCAB) == config


FOCAL_AT, DAVIT_AT = "MODEL__BACKBONE__FOCAL", "MODEL__BACKBONE__DAVIT"
SEES = "ATTENTION_ARCH__SELF_ATTENTION__queries"


@pytest.mark.parametrize(
    ("entry", "value", "name", "expected"),
    [
        (f"{FOCAL_AT}__FOCAL_LEVELS", [2, 3, 4, 1], "focal_levels", (2, 3, 4, 1)),
        (f"{FOCAL_AT}__FOCAL_WINDOWS", [3, 5, 7, 9], "focal_windows", (3, 5, 7, 9)),
        (f"{FOCAL_AT}__MLP_RATIO", 2.5, "mlp_ratio", 2.5),
        (f"{DAVIT_AT}__WINDOW_SIZE", 12, "window", 12),
        (f"{DAVIT_AT}__PATCH_SIZE", [7, 5, 5, 5], "kernels", (7, 5, 5, 5)),
        (f"{DAVIT_AT}__PATCH_PADDING", [3, 2, 2, 2], "paddings", (3, 2, 2, 2)),
        (f"{DAVIT_AT}__MLP_RATIO", 3.0, "mlp_ratio", 3.0),
    ],
)
def test_every_number_of_a_backbone_shapes_the_network(entry, value, name, expected):
    record = DAVIT if "DAVIT" in entry else FOCAL
    plain, other = (read_official(official(record, **change), VOCAB).backbone for change in ({}, {entry: value}))
    assert getattr(other, name) == expected != getattr(plain, name)
    with torch.device("meta"):
        shapes = [{n: p.shape for n, p in numbers.build().named_parameters()} for numbers in (plain, other)]
    # Windows of attention and paddings shape what is computed, but no weight.
    assert (shapes[0] == shapes[1]) is (name in ("window", "paddings"))


@pytest.mark.parametrize(
    ("record", "entry", "value", "message"),
    [
        (FOCAL, f"{FOCAL_AT}__USE_POSTLN", False, r"FOCAL\.USE_POSTLN is False: this package computes True only"),
        (FOCAL, f"{FOCAL_AT}__PATCH_SIZE", 2, r"PATCH_SIZE is 2: this package computes 4 only"),
        (FOCAL, f"{FOCAL_AT}__FOCAL_FACTOR", 3, r"FOCAL_FACTOR \(3\) is not known to this package: it may shape"),
        (FOCAL, f"{FOCAL_AT}__FOCAL_WINDOWS", None, "FOCAL lacks FOCAL_WINDOWS: give a complete official"),
        (FOCAL, f"{FOCAL_AT}__DEPTHS", "2262", "DEPTHS is '2262', expected a whole number for each stage"),
        (DAVIT, f"{DAVIT_AT}__PATCH_STRIDE", [2, 2, 2, 2], r"PATCH_STRIDE is \[2, 2, 2, 2\]: this package"),
        (DAVIT, f"{DAVIT_AT}__CONV_AT_FFN", False, r"CONV_AT_FFN \(False\) is not known"),
        (FOCAL, "MODEL__BACKBONE__NAME", "vit", "unknown backbone MODEL.BACKBONE.NAME 'vit': choose one of davit"),
        (FOCAL, "MODEL__ENCODER__CONVS_DIM", 512, "CONVS_DIM is 512: this package computes"),
        (FOCAL, "MODEL__ENCODER__NORM", "BN", "NORM is 'BN': this package computes 'GN' only"),
        (FOCAL, "MODEL__DECODER__PRE_NORM", True, "PRE_NORM is True"),
        (FOCAL, "MODEL__DECODER__NAME", "seem_v2", "choose one of seem_demo, seem_v0, seem_v1, xdecoder"),
        (FOCAL, "MODEL__DECODER__NEW_PART", 1, r"DECODER\.NEW_PART \(1\) is not known"),
        (X_DECODER, "MODEL__BACKBONE_DIM", 7, "BACKBONE_DIM is 7"),
        (FOCAL, "INPUT__PIXEL_MEAN", [0, 0, 0], "PIXEL_MEAN is"),
        (
            FOCAL,
            f"{SEES}__object",
            ["queries_object", "tokens_spatial"],
            "lets object see object, spatial_tokens: in demo they",
        ),
        (FOCAL, "ATTENTION_ARCH__CROSS_ATTENTION__tokens__spatial", True, "CROSS_ATTENTION.tokens.spatial is True"),
        (FOCAL, "MODEL", None, "configuration lacks MODEL"),
    ],
)
def test_what_this_package_does_not_compute_is_refused_in_one_line(record, entry, value, message, tmp_path):
    file = tmp_path / "official.json"
    file.write_text(json.dumps(official(record, **{entry: value})))
    with pytest.raises(PromptsegError, match=message) as caught:
        read_official_file(file, VOCAB)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize(
    ("content", "message"), [("a: [", "cannot be read as YAML"), ("", "expected a section of an official")]
)
def test_files_that_are_none_are_refused(content, message, tmp_path):
    (tmp_path / "official.yaml").write_text(content)
    with pytest.raises(PromptsegError, match=message) as caught:
        read_official_file(tmp_path / "official.yaml", VOCAB)
    assert "\n" not in str(caught.value)
    with pytest.raises(PromptsegError, match="no such file"):
        read_official_file(tmp_path / "none.yaml", VOCAB)


def test_named_backbones_are_those_of_the_official_files():
    """The numbers of the published files, by hand from the authors' repository."""
    tiny, large = (NAMED[f"seem-focal-{size}-v1"].backbone for size in "tl")
    assert (tiny.kind, tiny.focal_levels, tiny.focal_windows) == ("focal_dw", (3,) * 4, (3,) * 4)
    assert (large.kind, large.focal_levels, large.focal_windows) == ("focal", (4,) * 4, (3,) * 4)
    assert [NAMED[f"seem-davit-d{n}-v1"].backbone.paddings for n in (3, 5)] == [(3, 0, 0, 0), (3, 1, 1, 1)]
    assert {NAMED[f"seem-davit-d{n}-v1"].backbone.window for n in (3, 5)} == {7}


def test_a_fine_tune_is_imported_by_its_configuration_file(tmp_path):
    record = RECORDS[FOCAL]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(official()))
    weights = record.with_suffix(".safetensors")
    report = import_checkpoint(weights, str(tmp_path / "mine.yaml"), tmp_path / "model")
    network, config = load_model_folder(tmp_path / "model")
    assert config.variant.name == "demo" and config.text.vocab == len(network.text.lang_encoder.token_embedding.weight)
    assert report.fingerprint == fingerprint(network.named_parameters())
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(official(MODEL__DECODER__NUM_OBJECT_QUERIES=5)))
    with pytest.raises(PromptsegError, match=r"not the weights of .*other\.yaml: .* of another shape"):
        import_checkpoint(weights, str(tmp_path / "other.yaml"), tmp_path / "other")
