"""Several processes, short numbers and compiled kernels against one process in float32."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from places import SUPPORT
from shapes import SHAPES
from tiny import tiny_segmenter

import promptseg

FEW = {"steps": 5, "batch_size": 3, "progress": False}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ssprompt", "coop"])
def test_two_processes_learn_what_one_does(method: str, tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        dedent(f"""
        import sys
        sys.path.insert(0, {str(SUPPORT)!r})
        import promptseg
        from shapes import SHAPES
        from tiny import tiny_segmenter
        promptseg.fit(tiny_segmenter(), SHAPES, method={method!r}, out={str(tmp_path / "run")!r}, **{FEW!r})
        """)
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29567"]
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    alone = promptseg.fit(tiny_segmenter(), SHAPES, method=method, **FEW)
    together = promptseg.Prompts.load(tmp_path / "run" / "prompts")
    assert alone.prompts.kinds.keys() == together.kinds.keys()
    for name, one in alone.prompts.kinds.items():
        other = together.kinds[name]
        assert (one - other).abs().max() <= 1e-4 * one.abs().max()
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("method", ["ssprompt", "semprompt", "coop"])
def test_bfloat16_learns_nearly_what_float32_does(method: str) -> None:
    model = tiny_segmenter()
    settings = FEW | {"optimizer": "sgd", "rate": 0.1}
    runs = [promptseg.fit(model, SHAPES, method=method, precision=p, **settings) for p in ("float32", "bfloat16")]
    assert runs[0].losses != runs[1].losses
    assert runs[1].losses == pytest.approx(runs[0].losses, rel=0.02)
    assert all(tensor.dtype == torch.float32 for tensor in runs[1].prompts.kinds.values())


@pytest.mark.slow
def test_a_traced_decoder_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced whole, forward and backward; making C++ of it would take minutes and is PyTorch's business."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    model = tiny_segmenter()
    runs = [promptseg.fit(model, SHAPES, "ssprompt", compile=compiled, **FEW) for compiled in (False, True)]
    assert runs[1].losses == pytest.approx(runs[0].losses, rel=1e-4)
