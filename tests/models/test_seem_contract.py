"""Every version of SEEM, and X-Decoder, keep the contract of models/base.py."""

import torch
from golden import error, golden_cases, load_case
from model_contract import ModelContract, space
from tiny import LITE_CONFIG, TOKENIZER, VERSIONS, tiny_segmenter

from promptseg.models.seem.files.model_folder import save_model_folder
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.prompts import Prompts


class SeemContract(ModelContract):
    version: str
    golden: str

    @classmethod
    def make_model(cls):
        return tiny_segmenter(config=VERSIONS[cls.version])

    @classmethod
    def save_model(cls, model, folder):
        save_model_folder(folder, model.network, model.config, TOKENIZER, "", torch.float32)

    @classmethod
    def golden_differences(cls):
        """From images to class and mask logits through the public interface, in every case of the version."""
        found = {}
        for path in golden_cases(f"{cls.golden}__seg_*"):
            case = load_case(path)
            model = SeemSegmenter(case.network()[0], None, "golden")
            batch = len(case.record["image_sizes_hw"])
            features = model.encode_image([case.tensors[f"input/{index}/image"] for index in range(batch)])
            texts = case.tensors["input/class_text_embeddings"]
            names = tuple(case.record["class_names"][:-1])
            kinds = model.default_spatial_prompts() | {"semantic": texts[:-1], "background": texts[-1:]}
            answer = model.decode(features, Prompts(model.prompt_spec, kinds, {}, space(names), "", ""))
            last = f"decoder/{model.config.decoder_layers}"
            found[f"{path.stem} classes"] = error(answer.class_logits, case.tensors[f"{last}/logits"])
            found[f"{path.stem} masks"] = error(answer.mask_logits, case.tensors[f"{last}/masks"])
        return found


class TestV1(SeemContract):
    version, golden = "v1", "focaldw_v1"


class TestV0(SeemContract):
    version, golden = "v0", "focal_v0"


class TestDemo(SeemContract):
    version, golden = "demo", "focaldw_demo"


class TestDavit(SeemContract):
    version, golden = "davit", "davitd?_v1"


class TestDeformable(SeemContract):
    version, golden = "deformable", "focaldw_deform_v1"


class TestSamVit(SeemContract):
    version, golden = "sam-vit", "nothing: no official output of this backbone is known"


class TestLite(SeemContract):
    golden = "nothing: there is no official SEEM with this backbone"

    @classmethod
    def make_model(cls):
        return tiny_segmenter(config=LITE_CONFIG)


class TestXDecoder(SeemContract):
    version, golden = "x-decoder", "xdecoder_focaldw"


class TestTrainedOnClassesAlone(SeemContract):
    version, golden = "classes-only", "nothing: it is SEEM v1 but for prompts that point"
