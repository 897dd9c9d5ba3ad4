"""A toy package beside this one, as an installer leaves it: modules and a dist-info folder with entry points."""

from pathlib import Path


def install(folder: Path, name: str, entry_points: dict[str, dict[str, str]], modules: dict[str, str]) -> Path:
    """Write a distribution into `folder`, which belongs on sys.path.

    Args:
        folder: where to.
        name: of the distribution; its version is 1.0.
        entry_points: for each group the `module:attribute` by name.
        modules: the code by module name.
    """
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in entry_points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, code in modules.items():
        (folder / f"{module}.py").write_text(code)
    return folder
