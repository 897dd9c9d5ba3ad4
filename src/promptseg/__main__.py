"""The command `promptseg`, also as `python -m promptseg`: what must be set up before any library is loaded."""

import os
import sys

from promptseg.interrupts import leave, say_stopped, watch


def main() -> None:
    """Entry point of the installed command."""
    watch()
    from promptseg.cli.streams import open_streams, silence

    open_streams()
    # Threads that spin while they wait take the cores from other programs, and from each other; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from promptseg.cli.main import run

        code = run()
    except KeyboardInterrupt:
        code = say_stopped()
    leave()
    try:
        sys.stdout.flush()
    except OSError:  # told already; at exit Python would try and tell it again
        silence(1)
    sys.exit(code)


if __name__ == "__main__":
    main()
