"""Small inputs like those of public reports, kept beside the repository: each script says whether it went well."""

import os
import subprocess
import sys

import pytest
from places import SHARED

CASES = sorted((SHARED / "cases").glob("[0-9]*.py"))


@pytest.mark.slow
@pytest.mark.skipif(not CASES, reason="no cases beside the repository")
@pytest.mark.parametrize("script", CASES, ids=[path.stem for path in CASES])
def test_a_case(script):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("PASS"), done.stdout + done.stderr
