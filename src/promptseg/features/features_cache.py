"""Image features that are computed once: on the GPU, in memory or on disk, wherever there is room."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from promptseg.checks import check_choice
from promptseg.errors import PromptsegError
from promptseg.features.feature_files import FeatureFiles, features_folder
from promptseg.features.memory import free_bytes
from promptseg.models.base import ImageFeatures, PromptableSegmenter
from promptseg.record import DTYPES, PLACES, PRECISIONS

PREPROCESSING = 1
"""Raised whenever the same weights and pixels come to give other features: what was kept is then not found any more."""

DISK_LIMIT_GB = 20.0
"""What all features on disk may take together, unless $PROMPTSEG_FEATURES_GB says otherwise."""
_FRACTION = 0.5
"""Of the memory that is free at the start."""


class FeaturesCache:
    """The features of images, by weights, preprocessing, pixels and number type.

    An image that is mirrored has other pixels, so a key of its own; a stale entry is never asked for.
    """

    def __init__(
        self,
        device: torch.device,
        place: str = "auto",
        dtype: str = "float32",
        files: FeatureFiles | None = None,
        precision: str = "float32",
    ) -> None:
        """Start empty, but for what is on disk.

        Args:
            device: that of the model.
            place: one of `PLACES`; `auto` takes the first that has room, `none` keeps nothing.
            dtype: one of `DTYPES`, in which features are kept.
            files: where on disk; the user's cache folder if not given.
            precision: one of `PRECISIONS`, in which images are encoded.

        Raises:
            PromptsegError: unknown place, dtype or precision, or no GPU where one is asked for.
        """
        check_choice("features", place, PLACES)
        check_choice("features_dtype", dtype, DTYPES)
        check_choice("precision", precision, PRECISIONS)
        if place == "gpu" and device.type != "cuda":
            raise PromptsegError(f"features is 'gpu', but the model is on {device}: choose auto, memory or disk")
        self._dtype, self._device, self._precision = getattr(torch, dtype), device, precision
        self._files = files or user_files()
        self._places = _places(place, device)
        self._room = {name: int(_FRACTION * free_bytes(where)) for name, where in _memories(device).items()}
        self._kept: dict[str, ImageFeatures] = {}
        self._on_disk: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._told = ""
        self._seconds, self._encoded = 0.0, 0

    @property
    def seconds_per_image(self) -> float | None:
        """Mean time to encode one of the images that were encoded here; none without any."""
        return self._seconds / self._encoded if self._encoded else None

    def key(self, model: PromptableSegmenter, image: Tensor) -> str:
        """What the features of an image (3, H, W) are kept under."""
        about = (
            f"{model.fingerprint} {model.features_type.__name__} {PREPROCESSING} {self._precision} {self._dtype} "
            f"{image.dtype} {tuple(image.shape)} "
        )
        digest = hashlib.sha256(about.encode())
        digest.update(image.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def features(self, model: PromptableSegmenter, image: Tensor, key: str | None = None) -> ImageFeatures:
        """The features of an image (3, H, W), on the model's device and in its number type.

        Args:
            model: encodes the image if its features are not kept.
            image: any dtype, as `encode_image` takes it.
            key: as `key` gave it, if it is at hand.
        """
        return self._stored(model, image, key or self.key(model, image)).to(model.device, torch.float32)

    def _stored(self, model: PromptableSegmenter, image: Tensor, key: str) -> ImageFeatures:
        if key in self._kept:
            return self._kept[key]
        found = self._files.read(key, model.features_type) if "disk" in self._places else None
        if found is not None:
            self._count_on_disk(key, found)
            return found
        features = self._timed(model, image).to(model.device, self._dtype)
        place = next((place for place in self._places if self._put(place, key, features)), None)
        self._counts["none"] += place is None
        return self._kept.get(key, features)

    def _timed(self, model: PromptableSegmenter, image: Tensor) -> ImageFeatures:
        began = time.perf_counter()
        features = encode_images(model, [image], self._precision)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._seconds += time.perf_counter() - began
        self._encoded += 1
        return features

    def _put(self, place: str, key: str, features: ImageFeatures) -> bool:
        """Keep features in a place, if it has room for them."""
        if place == "disk":
            written = self._files.write(key, features)
            if written:
                self._count_on_disk(key, features)
            return written
        if features.nbytes > self._room[place]:
            return False
        self._room[place] -= features.nbytes
        self._kept[key] = features.to(_memories(self._device)[place])
        self._counts[place] += 1
        self._bytes[place] += features.nbytes
        return True

    def _count_on_disk(self, key: str, features: ImageFeatures) -> None:
        """Features on disk are read anew each time: a system allows a process some 65,000 maps of files."""
        if key not in self._on_disk:
            self._on_disk.add(key)
            self._counts["disk"] += 1
            self._bytes["disk"] += features.nbytes

    def changed_summary(self) -> str | None:
        """The summary, if it has changed since it was last asked for."""
        told, self._told = self._told, self.summary()
        return None if told == self._told else self._told

    def summary(self) -> str:
        """Where features are kept, in one line for people."""
        words = {"gpu": "on the GPU", "memory": "in memory", "disk": f"on disk in {self._files.folder}"}
        parts = [
            f"{self._counts[place]} {text} ({self._bytes[place] / 2**20:.0f} MB)"
            for place, text in words.items()
            if self._counts[place]
        ]
        if self._counts["none"] and self._places:
            parts.append(
                f"{self._counts['none']} times no room (on disk at most {self._files.limit / 2**30:.0f} GB,"
                " $PROMPTSEG_FEATURES_GB; promptseg cache clear)"
            )
        return f"image features: {', '.join(parts) or 'not kept'}"


def encode_images(model: PromptableSegmenter, images: Sequence[Tensor], precision: str) -> ImageFeatures:
    """Features of B images (3, H, W) in float32, computed in one of `PRECISIONS`."""
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        features = model.encode_image(images)
    return features if precision == "float32" else features.to(model.device, torch.float32)


def user_files() -> FeatureFiles:
    """The folder in the user's cache.

    Raises:
        PromptsegError: $PROMPTSEG_FEATURES_GB is no number from 0.
    """
    return FeatureFiles(features_folder(), int(disk_limit_gb() * 2**30))


def disk_limit_gb() -> float:
    """Most gigabytes on disk.

    Raises:
        PromptsegError: $PROMPTSEG_FEATURES_GB is no number from 0.
    """
    given = os.environ.get("PROMPTSEG_FEATURES_GB", str(DISK_LIMIT_GB))
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise PromptsegError(f"$PROMPTSEG_FEATURES_GB is {given!r}: give a number of gigabytes, such as 50")
    return value


def _places(place: str, device: torch.device) -> tuple[str, ...]:
    if place == "auto":
        return ("gpu", "memory", "disk") if device.type == "cuda" else ("memory", "disk")
    return () if place == "none" else (place,)


def _memories(device: torch.device) -> dict[str, torch.device]:
    memory = {"memory": torch.device("cpu")}
    return memory | {"gpu": device} if device.type == "cuda" else memory
