"""Folders that tests read from."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "tests/support"
"""Modules that tests share; pytest has them on its path."""
GOLDEN = ROOT / "tests/golden"
"""Outputs of official code for small inputs, and names of official weights."""
SHARED = ROOT.parent / "shared"
"""Photos and cases beside the repository, which a clone alone lacks."""
