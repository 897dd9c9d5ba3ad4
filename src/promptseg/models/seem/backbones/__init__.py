"""The image backbones: one file each, with the numbers that shape it; a new one is a file and an entry here."""

from promptseg.models.seem.backbones.davit import DavitConfig
from promptseg.models.seem.backbones.efficientnet import EfficientNetConfig
from promptseg.models.seem.backbones.focalnet import FocalConfig
from promptseg.models.seem.backbones.sam_vit import SamVitConfig

BackboneConfig = FocalConfig | DavitConfig | SamVitConfig | EfficientNetConfig
"""All of them; `kind` says which one a JSON object describes."""

__all__ = ["BackboneConfig", "DavitConfig", "EfficientNetConfig", "FocalConfig", "SamVitConfig"]
