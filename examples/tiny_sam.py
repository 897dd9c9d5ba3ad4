"""Train a tiny SAM on generated clear-day streets, to try what learns prompts on SAM where no weights are at hand.

    python examples/tiny_sam.py --out models/tiny-sam --steps 600
    promptseg reproduce table9 --model models/tiny-sam --seeds 0 --out runs/tiny-table9

SAM's own architecture at small dimensions (0.55 M weights), images of 128 pixels. It learns what SAM learned: from one
to five points on an object or region, its mask; it is never told a class. Beside it goes a CLIP text model of random
weights, so class names are codes without meaning. Nothing here says how the released SAM does.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import promptseg
from promptseg.assets import LITE_FOLDER
from promptseg.data.images import resize_image
from promptseg.models.sam.points import Sam
from promptseg.models.tokenizer import Tokenizer
from promptseg.tasks.matched_loss import dice_loss

SIZE, MASK, DIM = 128, 64, 64
PER_IMAGE, MOST_POINTS, LEAST_PIXELS = 4, 5, 8


def build() -> Any:
    """The network, with random weights."""
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=96,
        output_channels=DIM,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=8,
        window_size=8,
        global_attn_indexes=[1, 3],
        num_pos_feats=DIM // 2,
        mlp_dim=192,
        initializer_range=0.02,
    )
    prompts = SamPromptEncoderConfig(hidden_size=DIM, image_size=SIZE, patch_size=8)
    decoder = SamMaskDecoderConfig(hidden_size=DIM, mlp_dim=128, num_attention_heads=4, iou_head_hidden_dim=DIM)
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    network = SamModel(config)
    # The library's start is for frequencies of another width of the encoder.
    torch.nn.init.normal_(network.shared_image_embedding.positional_embedding)
    return network


def build_text() -> Any:
    """CLIP's text model for the bundled tokenizer, with random weights."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    vocab = Tokenizer.from_file(LITE_FOLDER / "tokenizer.json").vocab_size
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=vocab,
            hidden_size=64,
            intermediate_size=128,
            projection_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=24,
            bos_token_id=vocab - 2,
            eos_token_id=vocab - 1,
        )
    )


def read_scenes(model: Sam, count: int) -> list[tuple[Tensor, Tensor]]:
    """Photos as the network reads them, (3, 128, 128), with the segment number of each pixel, (128, 128)."""
    scenes = []
    for sample in promptseg.load_dataset(f"streets:clear?train={count}").train:
        image, segments = sample.image(), sample.panoptic()
        height, width = model.input_size((image.shape[0], image.shape[1]))
        pixels = torch.from_numpy(resize_image(image, (height, width))).permute(2, 0, 1)
        numbers = torch.from_numpy(segments.map.astype(np.float32))
        small = F.interpolate(numbers[None, None], (height, width), mode="nearest")[0, 0].long()
        scenes.append((model.normalised(pixels), F.pad(small, (0, SIZE - width, 0, SIZE - height))))
    return scenes


def batches(scenes: list[tuple[Tensor, Tensor]], size: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless batches: images (B, 3, 128, 128), points (B, 4, 5, 2), masks (B, 4, 64, 64)."""
    rng = np.random.default_rng(seed)
    while True:
        images, points, masks = [], [], []
        for index in rng.choice(len(scenes), size, replace=False):
            image, numbers = scenes[index]
            found, counts = numbers.unique(return_counts=True)
            usable = found[(found > 0) & (counts >= LEAST_PIXELS)].numpy()
            chosen = [numbers == int(number) for number in rng.choice(usable, PER_IMAGE)]
            images.append(image)
            points.append(torch.stack([_points(mask, rng) for mask in chosen]))
            masks.append(F.avg_pool2d(torch.stack(chosen)[:, None].float(), SIZE // MASK)[:, 0])
        yield torch.stack(images), torch.stack(points), torch.stack(masks)


def _points(mask: Tensor, rng: np.random.Generator) -> Tensor:
    """From one to five places inside a mask, some of them twice: (5, 2), x and y in pixels."""
    places = mask.nonzero().flip(1).float()
    several = places[rng.choice(len(places), rng.integers(1, MOST_POINTS + 1))]
    return several[rng.integers(0, len(several), MOST_POINTS)]


def train(network: Any, scenes: list[tuple[Tensor, Tensor]], steps: int, size: int, seed: int) -> None:
    """Teach the network masks from points."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    network.train().requires_grad_(True)
    for step, (images, points, masks) in zip(range(steps), batches(scenes, size, seed), strict=False):
        logits = network(images, points, multimask_output=False).pred_masks[:, :, 0]
        cross_entropy = F.binary_cross_entropy_with_logits(logits, masks)
        loss = cross_entropy + dice_loss(logits.sigmoid().flatten(2), masks.flatten(2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)


def main() -> None:
    """Train, and write a folder that `--model` takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    network, text = build(), build_text()
    scenes = read_scenes(Sam(network, "tiny-sam", SIZE, 8, ""), args.photos)
    train(network, scenes, args.steps, args.batch, args.seed)
    network.save_pretrained(args.out)
    text.save_pretrained(args.out / "text")
    Tokenizer.from_file(LITE_FOLDER / "tokenizer.json").save(args.out / "text" / "tokenizer.json")
    print(f"{sum(weight.numel() for weight in network.parameters())} weights in {args.out}")


if __name__ == "__main__":
    main()
