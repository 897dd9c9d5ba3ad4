"""Reading safetensors files, with the errors a user can mend."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from promptseg.errors import PromptsegError


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises:
        PromptsegError: the file is missing or is not one.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise PromptsegError(f"{path}: no such file; the folder is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise PromptsegError(f"{path}: not a readable safetensors file ({error})") from None
