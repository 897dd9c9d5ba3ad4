"""The steps of training as the paper states them, with no thought of time or memory.

The tests compare the product with these, and the benchmarks measure what its savings bring.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from promptseg.engine.settings import Resolved
from promptseg.engine.trainer import AUXILIARY_STRIDE, build_optimizer, draw_batches, set_rate
from promptseg.label_space import IGNORE
from promptseg.methods.module import PromptModule
from promptseg.models.base import Prediction
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD, STAGES
from promptseg.models.seem.config import LEVELS
from promptseg.models.seem.network.attention import MultiHeadAttention, sine_positions
from promptseg.models.seem.network.decoder import SeemDecoder
from promptseg.models.seem.network.pixel_decoders import PixelFeatures
from promptseg.models.seem.network.seem_network import HeadOutputs
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.prompts import Prompts

TINY = 1e-8


def plain_loss(prediction: Prediction, targets: Sequence[Tensor], dice: bool, stride: int = 1) -> Tensor:
    """The semantic loss, from the evidence for every class at every pixel; targets (H, W), 255 = ignored."""
    masks = F.interpolate(prediction.mask_logits, prediction.canvas, mode="bilinear", align_corners=False)
    masks = masks[..., stride // 2 :: stride, stride // 2 :: stride]
    losses = []
    for logits, mask, target in zip(prediction.class_logits, masks, targets, strict=True):
        labels = target[stride // 2 :: stride, stride // 2 :: stride].long()
        evidence = torch.einsum("nc,nyx->cyx", logits.softmax(-1)[:, :-1], mask.sigmoid())
        evidence = evidence[:, : labels.shape[0], : labels.shape[1]]
        loss = map_cross_entropy(evidence, labels)
        losses.append(loss + map_dice(evidence, labels) if dice else loss)
    return torch.stack(losses).mean()


def map_cross_entropy(evidence: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the evidence (C, H, W) normalised over the classes; the mean over labelled pixels."""
    labelled = target != IGNORE
    true = evidence.gather(0, target.where(labelled, 0)[None])[0]
    losses = (evidence.sum(0) + TINY).log() - (true + TINY).log()
    return (losses * labelled).sum() / labelled.sum().clamp(min=1)


def map_dice(evidence: Tensor, target: Tensor) -> Tensor:
    """Soft dice loss, smoothed by one pixel, of the evidence normalised; the mean over the classes present."""
    labelled = (target != IGNORE).flatten()
    shares = (evidence / (evidence.sum(0) + TINY)).flatten(1) * labelled
    present = torch.unique(target.flatten()[labelled])
    truth = (target.flatten() == present[:, None]).to(shares.dtype)
    if not len(present):
        return shares.sum() * 0
    found = shares[present]
    return (1 - (2 * (found * truth).sum(1) + 1) / (found.sum(1) + truth.sum(1) + 1)).mean()


def encode_plainly(model: SeemSegmenter, images: Tensor) -> PixelFeatures:
    """Maps of images (B, 3, H, W), uint8, that need no padding."""
    mean, std = (torch.tensor(values, device=model.device)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    with torch.no_grad():
        maps = model.network.backbone((images.to(model.device).float() - mean) / std)
        pixels: PixelFeatures = model.network.sem_seg_head.pixel_decoder(maps[-STAGES:])
    return pixels


def plain_decode(model: SeemSegmenter, maps: PixelFeatures, prompts: Prompts) -> list[HeadOutputs]:
    """Run the decoder as its definition reads; the answers of all heads.

    Every head computes its class logits and its masks at full resolution, and shrinks the masks for the next layer.
    """
    network, decoder = model.network, model.network.decoder
    queries, positions = decoder.query_feat.weight, decoder.query_embed.weight
    if "spatial" in prompts.kinds:
        queries = torch.cat((prompts.kinds["spatial"], queries[len(prompts.kinds["spatial"]) :]))
    if "position" in prompts.kinds:
        positions = torch.cat((prompts.kinds["position"], positions[len(prompts.kinds["position"]) :]))
    text = torch.cat((prompts.kinds["semantic"], prompts.kinds["background"]))
    hidden = queries.expand(len(maps.mask_features), -1, -1)
    answers = [_head(decoder, hidden, text, maps.mask_features)]
    for i in range(network.config.decoder_layers):
        level = maps.levels[i % LEVELS]
        values = level.flatten(2).transpose(1, 2) + decoder.level_embed.weight[i % LEVELS]
        keys = values + sine_positions(*level.shape[2:], level.shape[1], like=level)
        shrunk = F.interpolate(answers[-1].mask_logits, level.shape[2:], mode="bilinear", align_corners=False)
        blocked = shrunk.detach().flatten(2).sigmoid() < 0.5
        blocked = blocked & ~blocked.all(dim=2, keepdim=True)
        cross, self_ = decoder.transformer_cross_attention_layers[i], decoder.transformer_self_attention_layers[i]
        hidden = cross.norm(hidden + _attend(cross.multihead_attn, hidden + positions, keys, values, blocked))
        placed = hidden + positions
        hidden = self_.norm(hidden + _attend(self_.self_attn, placed, placed, hidden, None))
        hidden = decoder.transformer_ffn_layers[i](hidden)
        answers.append(_head(decoder, hidden, text, maps.mask_features))
    return answers


def _attend(layer: MultiHeadAttention, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None) -> Tensor:
    """PyTorch's own attention of rows (B, N, D) to (B, S, D)."""
    mask = None if blocked is None else blocked.repeat_interleave(layer.heads, dim=0)
    taken, _ = F.multi_head_attention_forward(
        query.transpose(0, 1),
        key.transpose(0, 1),
        value.transpose(0, 1),
        embed_dim_to_check=query.shape[2],
        num_heads=layer.heads,
        in_proj_weight=layer.in_proj_weight,
        in_proj_bias=layer.in_proj_bias,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=layer.out_proj.weight,
        out_proj_bias=layer.out_proj.bias,
        attn_mask=mask,
        need_weights=False,
    )
    return taken.transpose(0, 1)


def _head(decoder: SeemDecoder, hidden: Tensor, text: Tensor, mask_features: Tensor) -> HeadOutputs:
    normed = decoder.decoder_norm(hidden)
    captions = F.normalize(normed @ decoder.class_embed, dim=-1)
    classes = decoder.lang_encoder.logit_scale.exp() * captions @ text.T
    return HeadOutputs(classes, torch.einsum("bqc,bchw->bqhw", decoder.mask_embed(normed), mask_features))


def plain_losses(heads: Sequence[HeadOutputs], targets: Sequence[Tensor], settings: Resolved) -> Tensor:
    """The loss of a training step, of the last head and, if they count, of the others."""
    height, width = (4 * side for side in heads[0].mask_logits.shape[2:])
    total = heads[0].mask_logits.new_zeros(())
    fit, dice = settings.fit, settings.task.loss == "cross-entropy+dice"
    for head in heads if fit.auxiliary else heads[-1:]:
        prediction = Prediction(head.class_logits, head.mask_logits, (height, width), ((height, width),) * len(targets))
        last = head is heads[-1]
        stride = fit.loss_stride if last else max(AUXILIARY_STRIDE, fit.loss_stride)
        total = total + (1.0 if last else fit.auxiliary) * plain_loss(prediction, targets, dice, stride)
    return total


def plain_step_loss(
    model: SeemSegmenter, prompts: Prompts, images: Sequence[Tensor], targets: Sequence[Tensor], settings: Resolved
) -> Tensor:
    """The loss of a training step from the images themselves."""
    heads = plain_decode(model, encode_plainly(model, torch.stack(list(images))), prompts)
    return plain_losses(heads, targets, settings)


def plain_fit(
    model: SeemSegmenter,
    defaults: Prompts,
    module: PromptModule,
    views: Sequence[Sequence[tuple[Tensor, Tensor]]],
    settings: Resolved,
    seed: int,
) -> list[float]:
    """Train the method: every step encodes its images anew; `views` are pairs of image and target, as is and mirrored.

    Returns:
        The losses of all steps.
    """
    fit = settings.fit
    optimizer = build_optimizer(module, fit)
    draws = draw_batches(len(views), fit.batch_size, fit.flip, seed)
    losses = []
    for step in range(fit.steps):
        set_rate(optimizer, fit.rate * (1 - step / fit.steps) ** fit.power)
        images, targets = zip(*(views[index][view] for index, view in next(draws)), strict=True)
        optimizer.zero_grad()
        loss = plain_step_loss(model, defaults.updated(module()), images, targets, settings)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
