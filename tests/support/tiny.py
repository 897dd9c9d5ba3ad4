"""A SEEM of random weights, small enough to build and run in a blink, for tests of everything around it."""

from dataclasses import replace
from pathlib import Path

import torch

from promptseg.assets import LITE_FOLDER
from promptseg.models.seem.backbones import DavitConfig, EfficientNetConfig, FocalConfig, SamVitConfig
from promptseg.models.seem.config import SeemConfig, TextConfig
from promptseg.models.seem.files.model_folder import save_model_folder
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.models.seem.variants import CLASSES_ONLY, DEMO, V0, V1, X_DECODER
from promptseg.models.tokenizer import Tokenizer

TOKENIZER = LITE_FOLDER / "tokenizer.json"
NUM_PROMPTS = 16
DIM = 32
TEXT_DIM = 48  # unlike DIM, so that mixing them up fails
CONFIG = SeemConfig(
    backbone=FocalConfig("focal_dw", 8, (1, 1, 1, 1), (2, 2, 2, 2)),
    text=TextConfig(width=16, heads=2, layers=1, context=24, vocab=1024),
    hidden_dim=DIM,
    mask_dim=32,
    text_dim=TEXT_DIM,
    num_queries=NUM_PROMPTS + 1,
    heads=4,
    ffn_dim=64,
    encoder_layers=1,
    decoder_layers=3,
    spatial_memories=4,
    short_side=64,
    variant=CLASSES_ONLY,
)
VERSIONS = {
    "classes-only": CONFIG,
    "x-decoder": replace(CONFIG, variant=X_DECODER),
    # Words become rows of the decoder in these.
    **{variant.name: replace(CONFIG, text_dim=DIM, variant=variant) for variant in (V1, V0, DEMO)},
    "davit": replace(
        CONFIG,
        backbone=DavitConfig(
            kind="davit",
            dims=(8, 8, 12, 16),
            depths=(1, 1, 2, 1),
            heads=(2, 2, 3, 4),
            groups=(2, 4, 3, 2),
            kernels=(7, 3, 3, 3),
            paddings=(3, 1, 1, 1),
            window=3,
        ),
    ),
    "focal": replace(CONFIG, backbone=FocalConfig("focal", 8, (1, 1, 1, 1), (2, 2, 2, 2))),
    "deformable": replace(CONFIG, pixel_decoder="deformable"),
    "sam-vit": replace(
        CONFIG,
        backbone=SamVitConfig("sam_vit", dim=16, depth=8, heads=2, global_blocks=(1, 3, 5, 7), canvas=128, window=3),
        pixel_decoder="deformable",
        size_divisor=128,
    ),
}
"""The variants, by variant, backbone or pixel decoder."""
LITE_CONFIG = replace(
    CONFIG,
    backbone=EfficientNetConfig(
        stem=8, widths=(4, 6, 8, 8, 10, 10, 12), repeats=(1, 2, 2, 1, 2, 1, 1), expansions=(1, 2, 2, 2, 2, 2, 2)
    ),
)
"""As the embedded model is built."""


def tiny_network(seed: int = 0, config: SeemConfig = CONFIG) -> SeemNetwork:
    """A network whose norms and scales are random too, so that every parameter changes the output."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SeemNetwork(config)
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                centre = 0.0 if name.endswith("bias") else 1.0
                torch.nn.init.normal_(parameter, centre, 0.2)
    return network.eval()


def tiny_segmenter(seed: int = 0, config: SeemConfig = CONFIG) -> SeemSegmenter:
    """A segmenter with the bundled tokenizer: 16 spatial prompts of 32, texts of 48 numbers."""
    return SeemSegmenter(tiny_network(seed, config), Tokenizer.from_file(TOKENIZER), f"tiny-{seed}")


def tiny_folder(folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """The same as a model folder on disk."""
    save_model_folder(folder, tiny_network(seed), CONFIG, TOKENIZER, "# tiny\n", dtype)
    return folder
