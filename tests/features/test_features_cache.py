"""Features that are kept: the same wherever they are, never stale, safe between processes, within their limit."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from shapes import SHAPES
from tiny import tiny_segmenter

import promptseg
from promptseg.cli.main import run
from promptseg.engine.predict import Labeller
from promptseg.errors import PromptsegError
from promptseg.features import features_cache
from promptseg.features.feature_files import FeatureFiles
from promptseg.features.features_cache import FeaturesCache
from promptseg.models.base import ImageFeatures
from promptseg.models.seem.segmenter import SeemSegmenter

CPU = torch.device("cpu")
PLENTY = 2**30
IMAGE = torch.from_numpy(SHAPES[0].image()).permute(2, 0, 1)


class Counting:
    """A model that counts how often it encodes."""

    def __init__(self, model: SeemSegmenter) -> None:
        self.model, self.encoded = model, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def encode_image(self, images: Any) -> ImageFeatures:
        self.encoded += 1
        return self.model.encode_image(images)


@pytest.fixture
def model() -> Counting:
    return Counting(tiny_segmenter())


@pytest.fixture
def files(tmp_path: Path) -> FeatureFiles:
    return FeatureFiles(tmp_path / "features", PLENTY)


def equal(first: ImageFeatures, second: ImageFeatures) -> bool:
    same = all(torch.equal(tensor, second.tensors()[name]) for name, tensor in first.tensors().items())
    return same and (first.canvas, first.image_sizes) == (second.canvas, second.image_sizes)


@pytest.mark.parametrize("place", ["auto", "memory", "disk"])
def test_features_are_those_of_the_model_and_made_once(place: str, model: Counting, files: FeatureFiles) -> None:
    cache = FeaturesCache(CPU, place, files=files)
    expected = model.model.encode_image([IMAGE])
    assert equal(cache.features(model, IMAGE), expected)
    assert equal(cache.features(model, IMAGE.clone()), expected)
    assert model.encoded == 1


def test_disk_outlives_the_process_and_clear_empties_it(model: Counting, files: FeatureFiles) -> None:
    first = FeaturesCache(CPU, "disk", files=files).features(model, IMAGE)
    second = FeaturesCache(CPU, "disk", files=FeatureFiles(files.folder, PLENTY)).features(model, IMAGE)
    assert equal(first, second) and model.encoded == 1
    assert files.clear() > 0 and files.files() == []
    assert equal(first, second)  # whoever has a file open keeps it
    FeaturesCache(CPU, "disk", files=files).features(model, IMAGE)
    assert model.encoded == 2


def test_other_pixels_weights_sizes_numbers_and_preprocessing_are_other_entries(
    files: FeatureFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, model = FeaturesCache(CPU, "disk", files=files), tiny_segmenter()
    changed = IMAGE.clone()
    changed[0, 0, 0] += 1
    keys = [cache.key(model, image) for image in (IMAGE, changed, IMAGE.flip(-1), IMAGE.transpose(1, 2))]
    keys.append(cache.key(tiny_segmenter(seed=1), IMAGE))
    keys.append(FeaturesCache(CPU, "disk", "bfloat16", files).key(model, IMAGE))
    monkeypatch.setattr(features_cache, "PREPROCESSING", 2)
    keys.append(cache.key(model, IMAGE))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("dtype", "close"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_short_numbers_take_half_the_room(dtype: str, close: float, model: Counting, files: FeatureFiles) -> None:
    whole, half = (FeaturesCache(CPU, "disk", d, files).features(model, IMAGE) for d in ("float32", dtype))
    for name, tensor in whole.tensors().items():
        assert half.tensors()[name].dtype == torch.float32
        assert torch.allclose(half.tensors()[name], tensor, rtol=close, atol=1e-6)
    sizes = sorted(path.stat().st_size for path in files.files())
    assert sizes[0] < 0.55 * sizes[1]


@pytest.mark.parametrize("damage", [b"", b"not a file of tensors", None])
def test_a_damaged_file_is_made_again(damage: bytes | None, model: Counting, files: FeatureFiles) -> None:
    expected = FeaturesCache(CPU, "disk", files=files).features(model, IMAGE)
    expected = expected[:1].to("cpu", torch.float64).to("cpu", torch.float32)
    (path,) = files.files()
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert equal(FeaturesCache(CPU, "disk", files=files).features(model, IMAGE), expected)
    assert model.encoded == 2
    assert equal(FeaturesCache(CPU, "disk", files=files).features(model, IMAGE), expected)
    assert model.encoded == 2


def test_what_finds_no_room_is_made_again_and_said(model: Counting, tmp_path: Path) -> None:
    size = model.model.encode_image([IMAGE]).nbytes
    files = FeatureFiles(tmp_path, int(1.5 * size))
    cache = FeaturesCache(CPU, "disk", files=files)
    for _ in range(2):
        for image in (IMAGE, IMAGE.flip(-1)):
            assert equal(cache.features(model, image), model.model.encode_image([image]))
    assert model.encoded == 3 and len(files.files()) == 1
    assert f"1 on disk in {tmp_path}" in cache.summary() and "2 times no room" in cache.summary()
    assert cache.changed_summary() is not None and cache.changed_summary() is None


def _write(folder: Path, rounds: int) -> None:
    files, model = FeatureFiles(folder, PLENTY), tiny_segmenter()
    features = model.encode_image([IMAGE])
    for _ in range(rounds):
        assert files.write("ab12", features)
        found = files.read("ab12", type(features))
        assert found is not None and equal(found, features)


def test_two_processes_write_the_same_file_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(tmp_path, 20)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [path.name for path in FeatureFiles(tmp_path, PLENTY).files()] == ["ab12.safetensors"]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


@pytest.mark.parametrize("place", ["none", "disk"])
def test_prompts_do_not_depend_on_the_place(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTSEG_CACHE", str(tmp_path))
    model = tiny_segmenter()
    runs = [
        promptseg.fit(model, SHAPES, "ssprompt", steps=3, progress=False, features=where) for where in ("memory", place)
    ]
    assert torch.equal(runs[0].prompts.kinds["spatial"], runs[1].prompts.kinds["spatial"])
    assert torch.equal(runs[0].prompts.kinds["semantic"], runs[1].prompts.kinds["semantic"])


def test_evaluate_takes_features_of_a_cache(model: Counting) -> None:
    run = promptseg.fit(model, SHAPES, method="zero-shot", progress=False)
    cache = FeaturesCache(CPU, "memory")
    scores = [promptseg.evaluate(model, run.prompts, SHAPES, cache=cache).miou for _ in range(2)]
    assert model.encoded == len(SHAPES)
    assert scores == [promptseg.evaluate(model, run.prompts, SHAPES).miou] * 2


def test_wrong_choices_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PromptsegError, match="unknown features 'cloud': choose one of auto"):
        FeaturesCache(CPU, "cloud")
    with pytest.raises(PromptsegError, match="unknown features_dtype 'int8': choose one of"):
        FeaturesCache(CPU, dtype="int8")
    with pytest.raises(PromptsegError, match="features is 'gpu', but the model is on cpu"):
        FeaturesCache(CPU, "gpu")
    monkeypatch.setenv("PROMPTSEG_FEATURES_GB", "much")
    with pytest.raises(PromptsegError, match="PROMPTSEG_FEATURES_GB is 'much': give a number"):
        FeaturesCache(CPU)


def test_the_command_tells_and_clears(
    model: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROMPTSEG_CACHE", str(tmp_path))
    FeaturesCache(CPU, "disk").features(model, IMAGE)
    assert run(["cache", "info"]) == 0
    told = capsys.readouterr().out
    assert str(tmp_path / "features") in told and "images:  1 " in told
    assert run(["cache", "clear"]) == 0
    assert "1 images removed" in capsys.readouterr().out
    assert run(["cache", "info"]) == 0
    assert "images:  0 " in capsys.readouterr().out


def test_features_on_disk_are_not_held_open(tmp_path: Path) -> None:
    model = tiny_segmenter()
    images = [torch.full((3, 64, 64), level, dtype=torch.uint8) for level in range(40)]
    files = FeatureFiles(tmp_path, 2**30)
    for _ in range(2):
        cache = FeaturesCache(model.device, "disk", files=files)
        for image in [*images, *images]:
            cache.features(model, image)
        assert Path("/proc/self/maps").read_text().count(str(tmp_path)) <= 1
        assert cache.summary().startswith("image features: 40 on disk")


def test_images_are_encoded_as_precisely_as_the_fit_was(model: Counting) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        expected = model.model.encode_image([IMAGE])
    cache = FeaturesCache(CPU, precision="bfloat16")
    assert equal(cache.features(model, IMAGE), expected.to(CPU, torch.float32))
    assert cache.key(model, IMAGE) != FeaturesCache(CPU).key(model, IMAGE)
    exact, short = (
        promptseg.fit(model, SHAPES, "ssprompt", steps=2, progress=False, precision=precision).prompts
        for precision in ("float32", "bfloat16")
    )
    scores = [promptseg.evaluate(model, short, SHAPES, cache=kept).per_class for kept in (None, cache)]
    assert scores[0] == scores[1]
    for prompts, default in ((exact, "float32"), (short, "bfloat16")):
        assert Labeller(prompts, model=model).about()["precision"] == default
    assert Labeller(exact, model=model, precision="bfloat16").about()["precision"] == "bfloat16"
    with pytest.raises(PromptsegError, match="unknown precision 'int4': choose one of bfloat16"):
        Labeller(exact, model=model, precision="int4")
