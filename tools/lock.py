"""Write requirements.lock: what `make` installs, in the versions of constraints.txt, with the hash of every file.

pip install uv && python tools/lock.py

PyTorch is left out, with the parts of CUDA that its builds bring: which build is right differs from machine to machine,
and a CPU build comes from another index, with other hashes. It is pinned by its version alone.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"
LEFT_OUT = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")
HEAD = "# What make installs, with the hashes of all files; written by tools/lock.py from constraints.txt.\n"
COMMAND = (
    *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-header", "--no-annotate", "--extra", "dev", "--constraint", "constraints.txt", "pyproject.toml"),
)


def locked() -> str:
    """The requirements as uv resolves them for all platforms, without those that are left out."""
    found = subprocess.run(COMMAND, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    entries = re.split(r"\n(?=\S)", found.strip())
    return HEAD + "".join(f"{entry}\n" for entry in entries if not LEFT_OUT.match(entry))


def main() -> None:
    """Write the file."""
    try:
        LOCK.write_text(locked(), encoding="utf-8")
    except FileNotFoundError:
        sys.exit("uv is not installed: pip install uv")
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr)


if __name__ == "__main__":
    main()
