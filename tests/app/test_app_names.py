"""Photos of odd names on the page."""

import json
import os
import shutil

import pytest
from app_folder import make_folder, write_classes

from promptseg.app.labels import LabelStore
from promptseg.app.photos import PhotoFolder
from promptseg.errors import PromptsegError


@pytest.fixture
def root(tmp_path):
    make_folder(tmp_path, 3, "64x32")
    write_classes(tmp_path)
    return tmp_path


def test_names_that_no_list_can_hold_are_a_fault_of_the_photo(root):
    good = sorted((root / "images").rglob("*.*"))[0] if (root / "images").is_dir() else sorted(root.glob("*.jpg"))[0]
    names = [" a", "b ", "c\nd", "e\u2028f", os.fsdecode(b"caf\xe9")]
    for name in names:
        shutil.copyfile(good, good.with_name(f"{name}{good.suffix}"))
    folder = PhotoFolder(root)
    faults = {photo.id: photo.fault for photo in folder.photos.values() if photo.fault}
    assert sorted(faults) == sorted([" a", "b ", "c\nd", "e\u2028f", "caf\\udce9"])
    assert all("rename it" in fault for fault in faults.values()) and len(folder.photos) == 8
    json.dumps([photo.id for photo in folder.photos.values()]).encode()
    with pytest.raises(PromptsegError, match="rename it"):
        LabelStore(folder).path(" a")
