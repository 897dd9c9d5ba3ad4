"""Commands run in this process: what they answer, and that they refuse in one line."""

from promptseg.cli.main import run


def answer(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments):
    """The one line of a command that must fail with exit code 2 and print nothing else."""
    code, out, err = answer(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("promptseg: ") and err.count("\n") == 1
    return err
