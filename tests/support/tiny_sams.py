"""The SAM family with random weights, small enough to build and run in a blink, in the library's own folder form."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tiny import TOKENIZER

SIZE = 64
DIM = 32
TEXT_DIM = 24  # unlike DIM, so that mixing them up fails
CONTEXT = 24
VOCAB = 1024
QUERIES = 6


def _random(build: Any, seed: int) -> Any:
    """A model none of whose weights is zero or one, so that every weight changes the output."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
        for name, parameter in model.named_parameters():
            norm = parameter.ndim == 1 and not name.endswith("bias")
            torch.nn.init.normal_(parameter, 1.0 if norm else 0.0, 0.2)
    return model.eval()


def tiny_sam(seed: int = 0) -> Any:
    """SAM for images of 64 pixels, with masks of 32."""
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=16,
        output_channels=DIM,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=8,
        window_size=4,
        global_attn_indexes=[1],
        num_pos_feats=DIM // 2,
        mlp_dim=32,
    )
    prompts = SamPromptEncoderConfig(hidden_size=DIM, image_size=SIZE, patch_size=8, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(hidden_size=DIM, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=DIM)
    return _random(
        lambda: SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)),
        seed,
    )


def tiny_sam2(seed: int = 0) -> Any:
    """SAM 2 for images of 128 pixels, with masks of 32."""
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    side = 2 * SIZE
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[side, side],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[8, 4, 8, 4],
        window_positional_embedding_background_size=[4, 4],
        global_attention_blocks=[3],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[side // 4] * 2, [side // 8] * 2, [side // 16] * 2],
        fpn_hidden_size=DIM,
    )
    prompts = Sam2PromptEncoderConfig(hidden_size=DIM, image_size=side, patch_size=16, mask_input_channels=4)
    decoder = Sam2MaskDecoderConfig(hidden_size=DIM, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=DIM)
    return _random(
        lambda: Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)),
        seed,
    )


def tiny_sam3(seed: int = 0) -> Any:
    """SAM 3 for images of 56 pixels, with masks of 16 and six queries."""
    from transformers import (
        Sam3Config,
        Sam3DETRDecoderConfig,
        Sam3DETREncoderConfig,
        Sam3GeometryEncoderConfig,
        Sam3MaskDecoderConfig,
        Sam3Model,
        Sam3VisionConfig,
        Sam3ViTConfig,
    )

    backbone = Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        window_size=2,
        global_attn_indexes=[1],
        pretrain_image_size=56,
    )
    vision = Sam3VisionConfig(
        backbone_config=backbone, fpn_hidden_size=DIM, backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]]
    )
    sizes = {"hidden_size": DIM, "num_attention_heads": 2}
    detr = sizes | {"num_layers": 2, "intermediate_size": 64, "dropout": 0.0}
    text = {
        "vocab_size": VOCAB,
        "hidden_size": 16,
        "intermediate_size": 32,
        "projection_dim": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": VOCAB - 2,
        "eos_token_id": VOCAB - 1,
    }
    config = Sam3Config(
        vision_config=vision,
        text_config=text | {"model_type": "clip_text_model"},
        geometry_encoder_config=Sam3GeometryEncoderConfig(**detr),
        detr_encoder_config=Sam3DETREncoderConfig(**detr),
        detr_decoder_config=Sam3DETRDecoderConfig(num_queries=QUERIES, **detr),
        mask_decoder_config=Sam3MaskDecoderConfig(num_upsampling_stages=3, **sizes),
    )
    return _random(lambda: Sam3Model(config), seed)


def tiny_clip(seed: int = 0) -> Any:
    """CLIP's text model with the vocabulary of the bundled tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=32,
        projection_dim=TEXT_DIM,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=VOCAB - 2,
        eos_token_id=VOCAB - 1,
    )
    return _random(lambda: CLIPTextModelWithProjection(config), seed)


BUILD = {"sam": tiny_sam, "sam2": tiny_sam2, "sam3": tiny_sam3, "clip": tiny_clip}


def sam_folder(folder: Path, kind: str, seed: int = 0) -> Path:
    """A model as the library saves it; with a tokenizer where it has text."""
    BUILD[kind](seed).save_pretrained(folder)
    if kind in ("sam3", "clip"):
        shutil.copy(TOKENIZER, folder / "tokenizer.json")
    return folder


def sam_spec(folder: Path, kind: str, options: str = "", seed: int = 0) -> str:
    """A spec of a tiny model that reads class names, its files in `folder`."""
    spec = str(sam_folder(folder / kind, kind, seed))
    if kind != "sam3":
        options = f"text={sam_folder(folder / 'clip', 'clip')}&{options}".rstrip("&")
    return f"{spec}?{options}" if options else spec


def stored_text(path: Path, names: tuple[str, ...]) -> Path:
    """A file of random class embeddings."""
    generator = torch.Generator().manual_seed(0)
    save_file({name: torch.randn(TEXT_DIM, generator=generator) for name in names}, path)
    return path
