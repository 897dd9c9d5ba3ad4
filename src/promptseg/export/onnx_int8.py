"""An ONNX graph whose weights of matrix products are whole numbers in eight bits, for a smaller file.

What comes into a product is brought to eight bits as it runs, by its own range; convolutions, norms and softmaxes stay
as they are. Of the ways that onnxruntime offers this one keeps the masks: docs/export.md has the figures of the others.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from promptseg.extras import import_extra


def to_int8(path: Path) -> None:
    """Put a smaller graph in the place of one, in its file."""
    quantization = import_extra("onnxruntime.quantization", "onnx", "export --precision int8")
    shapes = import_extra("onnxruntime.quantization.shape_inference", "onnx", "export --precision int8")
    with TemporaryDirectory(dir=path.parent, prefix=".int8-") as folder:
        folded, small = Path(folder, "folded.onnx"), Path(folder, "small.onnx")
        # The exporter leaves parts of joint projections as splits of a constant, which would not be found.
        shapes.quant_pre_process(path, folded, skip_onnx_shape=True, skip_symbolic_shape=True)
        kinds = {"op_types_to_quantize": ["MatMul"], "weight_type": quantization.QuantType.QInt8}
        # Processors without VNNI add products of eight bits up in sixteen, which weights of seven bits do not overflow.
        quantization.quantize_dynamic(folded, small, per_channel=True, reduce_range=True, **kinds)
        small.replace(path)
