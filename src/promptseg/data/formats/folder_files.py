"""Which files of a folder are photos, which are labels, and which labels belong to which photo, by their names."""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath

from promptseg.data.defects import Defect, DefectError
from promptseg.data.formats.files import walk_files
from promptseg.data.images import IMAGE_SUFFIXES, LABEL_SUFFIXES
from promptseg.data.label_space import name_key

ENDINGS = ("_mask", "-mask", "_masks", "_label", "_labels", "_seg", "_gt", "_labelIds", "_labelTrainIds")
"""What tools put behind a photo's name, or a folder's, when they name its label map."""
_LABELS = ("labels", "masks", *(f"images{ending}" for ending in ENDINGS))
"""Folders of labels beside a folder `images`."""
_SEPARATORS = "_-/"
"""What may stand between a photo's name and that of a class."""


@dataclass
class PhotoLabels:
    """The files that belong to a photo: maps of all classes, and masks of single ones by class id."""

    maps: list[Path] = field(default_factory=list)
    masks: dict[int, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def files(self) -> list[Path]:
        """All of them."""
        return [*self.maps, *chain.from_iterable(self.masks.values())]

    def unclear(self) -> bool:
        """Whether two of them claim the same pixels."""
        return len(self.maps) + bool(self.masks) > 1 or any(len(files) > 1 for files in self.masks.values())


@dataclass
class FolderFiles:
    """Photos and labels by id (path below the folder of photos, "/" between, no suffix), in id order."""

    images: dict[str, Path] = field(default_factory=dict)
    labels: dict[str, PhotoLabels] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)
    """Two files of one id, and labels that could mean several things."""
    strays: list[Defect] = field(default_factory=list)
    """Warnings of files of other formats."""
    orphans: list[Defect] = field(default_factory=list)
    """Warnings of labels without a photo."""


@dataclass(frozen=True)
class _Place:
    """A folder of photos and that of their labels; the same where they lie side by side."""

    photos: Path
    labels: Path
    prefix: str = ""
    """Put before ids, with a "/"."""
    deep: bool = True
    """Whether the photos of folders below belong to it."""


def list_photos(root: Path) -> FolderFiles:
    """The photos of a folder, in its `images` and below, else in the folder itself; no file is opened."""
    inner = root / "images"
    found = FolderFiles()
    place = _Place(inner, inner) if inner.is_dir() else _Place(root, root, deep=False)
    found.images = _by_id(place, _photo_files(place), IMAGE_SUFFIXES, found)
    return found


def list_files(root: Path, names: Sequence[str]) -> FolderFiles:
    """The photos and labels of a folder of the classes `names`; no file is opened.

    Raises:
        PromptsegError: several folders that may hold the labels.
    """
    found, classes = FolderFiles(), defaultdict[str, list[int]](list)
    for number, name in enumerate(names):
        classes[_class_key(name)].append(number)
    for place in _places(root):
        files = list(_photo_files(place))
        if place.photos != place.labels:
            labels = _by_id(place, walk_files(place.labels), LABEL_SUFFIXES, found, place.labels)
        else:
            labels = _beside(place, files, classes)
            taken = set(labels.values())
            files = [path for path in files if path not in taken]
        images = _by_id(place, files, IMAGE_SUFFIXES, found)
        found.images |= images
        _match(labels, images, classes, found)
    for id_, own in found.labels.items():
        if own.unclear():
            listed = ", ".join(path.name for path in own.files()[:6])
            found.defects.append(Defect(str(found.images[id_]), f"may have the labels {listed}", "keep one of them"))
    found.images = dict(sorted(found.images.items()))
    return found


def _places(root: Path) -> Iterator[_Place]:
    """Where photos and labels lie: `images` and `labels`, in each split or around them; else side by side."""
    if (root / "images").is_dir():
        yield _Place(root / "images", _labels_of(root) or root / "images")
        return
    if (labels := _labels_of(root)) is not None:
        yield _Place(root, labels, deep=False)
        return
    inner = [path for path in _folders(root) if (path / "images").is_dir()]
    if inner:
        for path in inner:
            yield _Place(path / "images", _labels_of(path) or path / "images", path.name)
        return
    yield from _paired(root) or [_Place(root, root)]


def _paired(root: Path) -> list[_Place]:
    """Folders of photos with one of labels beside each, as `train` and `train_masks`; none if there are no such."""
    folders = {path.name: path for path in _folders(root)}
    pairs = {name: [folders[name + end] for end in ENDINGS if name + end in folders] for name in folders}
    taken = {path.name for labels in pairs.values() for path in labels}
    own = {name: _only(root, labels) if labels else root / name for name, labels in pairs.items() if name not in taken}
    return [_Place(root / name, labels, name) for name, labels in own.items()] if taken else []


def _labels_of(folder: Path) -> Path | None:
    found = [path for name in _LABELS if (path := folder / name).is_dir()]
    return _only(folder, found) if found else None


def _only(folder: Path, found: Sequence[Path]) -> Path:
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DefectError(folder, f"has {names}, which may both hold the labels", "keep one of them")
    return found[0]


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name != "splits")


def _photo_files(place: _Place) -> Iterable[Path]:
    if place.deep:
        return walk_files(place.photos)
    # Beside photos without a folder of their own lies much else, so nothing there is called a stray.
    return [p for p in sorted(place.photos.iterdir()) if _is_picture(p) and p.is_file()]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _by_id(
    place: _Place, files: Iterable[Path], suffixes: tuple[str, ...], found: FolderFiles, folder: Path | None = None
) -> dict[str, Path]:
    """Files by id; second files of an id become defects, and files with other suffixes warnings."""
    by_id: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() not in suffixes:
            blurred = path.suffix.lower() in IMAGE_SUFFIXES  # a photo's format for labels
            mend = "save it as PNG where it was drawn: this format blurs ids" if blurred else "convert or move it"
            reason = f"ignored, as only {', '.join(suffixes)} are read here"
            if place.photos != place.labels:
                found.strays.append(Defect(str(path), reason, mend, "warning"))
            continue
        id_ = _id_of(place, path, folder or place.photos)
        if id_ in by_id:
            reason = f"has the same name as {by_id[id_].name}"
            found.defects.append(Defect(str(path), reason, "rename or remove one of them"))
        else:
            by_id[id_] = path
    return dict(sorted(by_id.items()))


def _id_of(place: _Place, path: Path, folder: Path) -> str:
    name = path.relative_to(folder).with_suffix("").as_posix()
    return f"{place.prefix}/{name}" if place.prefix else name


def _beside(place: _Place, files: Sequence[Path], classes: Mapping[str, Sequence[int]]) -> dict[str, Path]:
    """The labels that lie beside their photos: what is named after another picture, with an ending or a class."""
    pictures = [path for path in files if _is_picture(path)]
    names = _Names(_id_of(place, path, place.photos) for path in pictures)
    found = {}
    for path in pictures:
        name = _id_of(place, path, place.photos)
        if path.suffix.lower() in LABEL_SUFFIXES and _meanings(name, names, classes, but=name):
            found[name] = path
    return found


def _match(
    labels: Mapping[str, Path], images: Collection[str], classes: Mapping[str, Sequence[int]], found: FolderFiles
) -> None:
    names = _Names(images)
    for name, path in labels.items():
        meant = sorted(_meanings(name, names, classes), key=str)
        if len(meant) > 1:
            words = " or ".join(_words(id_, class_id, classes) for id_, class_id in meant[:4])
            found.defects.append(Defect(str(path), f"may be {words}", "rename it, or the photos"))
        elif meant:
            ((id_, class_id),) = meant
            own = found.labels.setdefault(id_, PhotoLabels())
            (own.maps if class_id is None else own.masks[class_id]).append(path)
        else:
            reason = "no photo belongs to it"
            found.orphans.append(Defect(str(path), reason, "add the photo, or rename it", "warning"))


def _words(id_: str, class_id: int | None, classes: Mapping[str, Sequence[int]]) -> str:
    if class_id is None:
        return f"the labels of {id_!r}"
    return f"the class {next(key for key, ids in classes.items() if class_id in ids)!r} of {id_!r}"


class _Names:
    """Ids that are found in any Unicode form, as long as one only fits."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = dict.fromkeys(ids)
        self._by_key: dict[str, list[str]] = defaultdict(list)
        for id_ in self._ids:
            self._by_key[unicodedata.normalize("NFC", id_)].append(id_)

    def find(self, name: str, but: str | None = None) -> str | None:
        if name in self._ids:
            return name if name != but else None
        alike = self._by_key.get(unicodedata.normalize("NFC", name), ())
        return alike[0] if len(alike) == 1 and alike[0] != but else None


def _meanings(
    name: str, names: _Names, classes: Mapping[str, Sequence[int]], but: str | None = None
) -> set[tuple[str, int | None]]:
    """What a label file may be, told by its path without suffix: the id of its photo, and its class if it has one.

    It is not of the photo `but`.
    """
    own = names.find(name, but)
    bare = [name, *(name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending))]
    found: set[tuple[str, int | None]] = set()
    for text in bare[:1] if own is not None else bare:  # the photo `a_mask` has the labels `a_mask`
        id_ = names.find(text, but)
        found |= {(id_, None)} if id_ is not None else set()
    for text in bare:
        for photo, word in _cut(text):
            id_ = names.find(photo, but)
            if id_ is not None:
                found |= {(id_, number) for number in classes.get(_class_key(word), ())}
    return found


def _cut(name: str) -> Iterator[tuple[str, str]]:
    """The ways to take a class out of a name: PHOTO_CLASS, PHOTO/CLASS, and CLASS/PHOTO in any folder."""
    last = name.rfind("/")
    for place in range(max(last, 0), len(name)):
        if name[place] in _SEPARATORS:
            yield name[:place], name[place + 1 :]
    parts = PurePosixPath(name).parts
    for place in range(len(parts) - 1):
        yield "/".join((*parts[:place], *parts[place + 1 :])), parts[place]


def _class_key(name: str) -> str:
    return name_key(name.replace("_", " ").replace("-", " "))
