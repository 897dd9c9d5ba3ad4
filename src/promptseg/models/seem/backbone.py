"""The image backbone a config asks for."""

from torch import nn

from promptseg.models.seem.backbone_config import BackboneConfig, DavitConfig, SamVitConfig
from promptseg.models.seem.davit import DaViT
from promptseg.models.seem.focalnet import FocalNet
from promptseg.models.seem.sam_vit import SamVit


def build_backbone(config: BackboneConfig) -> nn.Module:
    """A network that turns images (B, 3, H, W) into four maps (B, D, h, w), D of `config.dims`, strides 4 to 32."""
    if isinstance(config, DavitConfig):
        return DaViT(config)
    if isinstance(config, SamVitConfig):
        return SamVit(config)
    return FocalNet(config)
