"""`python -m promptseg` is the command `promptseg`."""

from promptseg.cli.main import main

if __name__ == "__main__":
    main()
