"""The methods by the name that `fit` takes."""

from typing import TYPE_CHECKING

from promptseg.registry import Registry

if TYPE_CHECKING:
    from promptseg.methods.module import Method

METHODS: "Registry[Method]" = Registry(
    "method",
    "promptseg.methods",
    "promptseg.methods.module:Method",
    {
        "zero-shot": "promptseg.methods.ssprompt:ZERO_SHOT",
        "ssprompt": "promptseg.methods.ssprompt:SSPROMPT",
        "spaprompt": "promptseg.methods.ssprompt:SPAPROMPT",
        "semprompt": "promptseg.methods.ssprompt:SEMPROMPT",
        "coop": "promptseg.methods.coop:METHOD",
        "locn": "promptseg.methods.locn:METHOD",
        "vspl": "promptseg.methods.vspl:METHOD",
        "pixprompt": "promptseg.methods.pixel.pixprompt:PIXPROMPT",
        "sspixprompt": "promptseg.methods.pixel.sspixprompt:METHOD",
        "ssf": "promptseg.methods.ssf:SSF",
        "ssf-pixprompt": "promptseg.methods.ssf:SSF_PIXPROMPT",
        "linear": "promptseg.methods.rivals.readers:LINEAR",
        "prototype": "promptseg.methods.rivals.readers:PROTOTYPE",
        "prototype-text": "promptseg.methods.rivals.readers:PROTOTYPE_TEXT",
        "query-linear": "promptseg.methods.rivals.readers:QUERY_LINEAR",
        "bitfit": "promptseg.methods.rivals.finetune:BITFIT",
        "lora": "promptseg.methods.rivals.lora:METHOD",
        "lora-pixprompt": "promptseg.methods.rivals.lora:LORA_PIXPROMPT",
        "finetune-decoder": "promptseg.methods.rivals.finetune:DECODER",
        "finetune-all": "promptseg.methods.rivals.finetune:EVERYTHING",
    },
)

EFFORTS = {"seconds": "pixprompt", "minutes": "ssf-pixprompt"}
"""What `fit` does where no method is named, by how long it may learn."""
DEFAULT_METHOD = EFFORTS["seconds"]
