"""Which photos each split of people's own data holds: by options, by lists in `splits/`, or by folders."""

import hashlib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.files import DatasetError
from promptseg.data.formats.photos import matched
from promptseg.data.sample import Dataset, Split
from promptseg.errors import PromptsegError, unknown_name
from promptseg.label_space import LabelSpace
from promptseg.spec import Spec

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""What folders, files and subsets of labelling tools call each split, in any letters."""
SPLIT_OPTIONS = (*SPLITS, "seed")
ALL = "all"
"""As an option, every photo that no other split has, unless a list is called so."""
_SHARE = re.compile(r"(\d{1,2}(?:\.\d+)?)%")


@dataclass
class Chosen:
    """The ids of each split, and what is wrong or odd about their choice.

    `lists` is the folder of the lists.
    """

    lists: Path
    ids: dict[str, list[str]] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)
    warnings: list[Defect] = field(default_factory=list)


def split_of(name: str) -> str | None:
    """The split that a folder, file or subset is named after."""
    bare = name.lower().rstrip("0123456789-_ ")  # COCO has train2017
    return next((split for split, names in SPLITS.items() if bare in names), None)


def open_own(
    name: str,
    root: Path,
    spec: Spec,
    samples: Mapping[str, FileSample],
    label_space: LabelSpace,
    warnings: Sequence[Defect],
    subsets: Mapping[str, Sequence[str]] | None = None,
    aside: Sequence[str] = (),
    lists: str = "splits",
) -> Dataset:
    """Put the samples of people's own data together.

    Args:
        name: of the format.
        root: the folder.
        spec: with the options `SPLIT_OPTIONS`.
        samples: by id.
        label_space: their classes.
        warnings: what was odd so far.
        subsets: ids by names that the annotations give, as CVAT's subsets do.
        aside: ids of photos without labels, which lists may name.
        lists: the folder of the lists, below the root.

    Raises:
        PromptsegError: as `split_ids`, or defects of the lists.
    """
    chosen = split_ids(root, spec, [*samples, *aside], subsets or {}, frozenset(aside), root / lists)
    train, val, test = (
        Split([samples[i] for i in chosen.ids.get(s, ())], label_space.name, spec.options.get(s, s)) for s in SPLITS
    )
    text = f"{name}:{spec.where}{spec.query}"
    dataset = Dataset(text, label_space, train, val, test, (*warnings, *chosen.warnings))
    if chosen.defects:
        raise DatasetError(chosen.defects, dataset)
    return dataset


def split_ids(
    root: Path,
    spec: Spec,
    photos: Sequence[str],
    subsets: Mapping[str, Sequence[str]],
    aside: Collection[str],
    lists: Path,
) -> Chosen:
    """The ids of each split that has any.

    With an option `train`, `val` or `test` that names a list, a split without one is empty. Otherwise a split is its
    list `SPLIT.txt`, or what lies in its folder or subset and in no list; a train split with neither takes every
    photo that is left. `val=20%` holds out a part of train where there is no val: the first of an order that
    follows from `seed` and the ids alone.

    Args:
        root: the folder, for errors.
        spec: with the options `SPLIT_OPTIONS`.
        photos: all ids.
        subsets: ids by names that the annotations give, as CVAT's subsets do.
        aside: those of `photos` that have no labels: they come into no split, and are no mistake in a list.

        lists: the folder of the lists.

    Raises:
        PromptsegError: a list that is not there or cannot be read, or a part where there is a split already.
    """
    shares = {split: spec.options[split] for split in SPLITS if _SHARE.fullmatch(spec.options.get(split, ""))}
    named = {split: spec.options[split] for split in SPLITS if split in spec.options and split not in shares}
    chosen = Chosen(lists)
    if named:
        for split, name in named.items():
            if not _takes_all(lists, name, subsets):
                chosen.ids[split] = _named(root, name, photos, subsets, chosen)
        rest = _without(photos, chosen.ids)
        chosen.ids |= {split: rest for split in named if split not in chosen.ids}
    else:
        _by_default(root, photos, [i for i in photos if i not in aside], subsets, chosen)
    if aside:
        chosen.ids = {split: [i for i in ids if i not in aside] for split, ids in chosen.ids.items()}
    _refuse_overlaps(root, chosen)
    for split, share in shares.items():
        _hold_out(spec, split, float(share[:-1]) / 100, chosen)
    return chosen


def _takes_all(lists: Path, name: str, subsets: Mapping[str, Sequence[str]]) -> bool:
    return name == ALL and name not in subsets and not (lists / f"{ALL}.txt").is_file()


def _by_default(
    root: Path, photos: Sequence[str], labelled: Sequence[str], subsets: Mapping[str, Sequence[str]], chosen: Chosen
) -> None:
    for split in SPLITS:
        path = _list_of(chosen.lists, split)
        if path is not None:
            chosen.ids[split] = _listed(path, photos, chosen)
    listed = {i for ids in chosen.ids.values() for i in ids}
    in_subset = {i: name for name, ids in subsets.items() for i in ids}
    for split in [s for s in SPLITS if s not in chosen.ids]:
        there = [i for i in labelled if _home(i, in_subset) == split]
        moved = [i for i in there if i in listed]
        if moved:
            reason = f"{len(moved)} photos of {split} are listed for another split, first {moved[0]}"
            chosen.warnings.append(_warning(root, f"{reason}: {split} is without them", "nothing, if that is meant"))
        if there:
            chosen.ids[split] = [i for i in there if i not in listed]
    if "train" not in chosen.ids:
        chosen.ids["train"] = _without(labelled, chosen.ids)
    elif left := _without(labelled, chosen.ids):
        reason = f"{len(left)} of {len(labelled)} photos are in no split, first {left[0]}"
        chosen.warnings.append(
            _warning(root, reason, f"nothing, if that is meant; else list them in {chosen.lists.name}/train.txt")
        )


def _list_of(lists: Path, split: str) -> Path | None:
    """The list of a split: `SPLIT.txt`, or the one list with another of its names, in any letters."""
    found = [path for path in sorted(lists.glob("*.txt")) if path.stem.lower() in SPLITS[split]]
    exact = [path for path in found if path.stem == split]
    if len(found) > 1 and not exact:
        names = " and ".join(path.name for path in found)
        raise DefectError(lists, f"has {names}, which may both be the list of {split}", f"name one {split}.txt")
    return next(iter(exact or found), None)


def _home(id_: str, in_subset: Mapping[str, str]) -> str | None:
    """The split that the subset or the first folder of a photo is named after."""
    split = split_of(in_subset.get(id_, ""))
    return split or (split_of(PurePosixPath(id_).parts[0]) if "/" in id_ else None)


def _without(photos: Sequence[str], ids: Mapping[str, Sequence[str]]) -> list[str]:
    elsewhere = {i for some in ids.values() for i in some}
    return [i for i in photos if i not in elsewhere]


def _named(
    root: Path, name: str, photos: Sequence[str], subsets: Mapping[str, Sequence[str]], chosen: Chosen
) -> list[str]:
    """The ids of a list or a subset."""
    there = {p.stem: p for p in sorted(chosen.lists.glob("*.txt")) if not p.name.startswith(".")}
    if name in there:
        return _listed(there[name], photos, chosen)
    alike = [subset for subset in subsets if name in (subset, split_of(subset))]
    if alike:
        return [i for subset in alike for i in subsets[subset]]
    in_folder = [i for i in photos if PurePosixPath(i).is_relative_to(name)] if name else []
    if in_folder:
        return in_folder
    if not there and not subsets:
        raise PromptsegError(f"{chosen.lists}: no lists there, but {name!r} was asked; write {name or 'NAME'}.txt")
    raise unknown_name("split list", name, {*there, *subsets})


def _refuse_overlaps(root: Path, chosen: Chosen) -> None:
    """Photos of train that are evaluated too would flatter every score."""
    train = set(chosen.ids.get("train", ()))
    for split in ("val", "test"):
        shared = [i for i in chosen.ids.get(split, ()) if i in train]
        if shared:
            reason = f"{len(shared)} photos are in train and in {split}, first {shared[0]}"
            chosen.defects.append(Defect(str(root), reason, f"take them out of the list of train or of {split}"))


def _hold_out(spec: Spec, split: str, share: float, chosen: Chosen) -> None:
    if not chosen.ids.get("train"):
        raise PromptsegError(f"{spec.text}: {split}={share:.0%} is a part of train, which has no photos; name its list")
    if chosen.ids.get(split):
        raise PromptsegError(f"{spec.text}: there are photos for {split} already; leave out {split}={share:.0%}")
    seed, train = spec.options.get("seed", "0"), chosen.ids["train"]
    order = sorted(train, key=lambda i: hashlib.sha256(f"{seed}:".encode() + os.fsencode(i)).digest())
    count = max(1, round(share * len(train)))
    if count >= len(train):
        raise PromptsegError(f"{spec.text}: {split} would take all {len(train)} photos of train; label more of them")
    held = set(order[:count])
    chosen.ids |= {split: [i for i in train if i in held], "train": [i for i in train if i not in held]}


def _listed(path: Path, photos: Sequence[str], chosen: Chosen) -> list[str]:
    """The ids of a list that have a photo; blank lines do not count."""
    try:
        text = os.fsdecode(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise DefectError(path, f"cannot be read ({error})", "write one id per line as UTF-8 text") from None
    lines = [line.strip().strip('"') for line in text.splitlines()]  # CVAT quotes names with blanks
    meant, ids = matched(lines, photos), dict[str, None]()
    for number, line in enumerate(lines, 1):
        name = meant.get(line)
        if name is not None and name not in ids:
            ids[name] = None
        elif name is not None:
            chosen.defects.append(
                Defect(str(path), f"line {number} lists {line!r} a second time", "remove one of the lines")
            )
        elif line:
            mend = 'write the path below the photos with "/" and without suffix, or remove the line'
            chosen.defects.append(Defect(str(path), f"line {number} lists {line!r}, which has no photo", mend))
    if not any(lines):
        chosen.defects.append(Defect(str(path), "lists no photo", "write one id per line, or remove the list"))
    return list(ids)


def _warning(root: Path, reason: str, mend: str) -> Defect:
    return Defect(str(root), reason, mend, "warning")
