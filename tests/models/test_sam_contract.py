"""SAM, SAM 2 and SAM 3 keep the contract of models/base.py."""

import pytest
import torch
from model_contract import ModelContract
from tiny import TOKENIZER
from tiny_sams import BUILD, SIZE, tiny_clip

from promptseg.errors import PromptsegError
from promptseg.models.sam.points import Sam, Sam2
from promptseg.models.sam.sam3 import Sam3
from promptseg.models.sam.text_sources import ClipText
from promptseg.models.tokenizer import Tokenizer

LICENCE = "Apache-2.0"


class SamContract(ModelContract):
    """What the three share: the input is fixed."""

    def test_a_short_side_is_refused(self, model):
        with pytest.raises(PromptsegError, match="short_side is 32: .* leave it out"):
            model.input_size((100, 100), 32)

    def test_an_image_larger_than_the_input_is_refused(self, model):
        with pytest.raises(PromptsegError, match=f"takes {model.size} pixels a side at most"):
            model.encode_image([torch.zeros(3, 20, model.size + 1)])


class PointContract(SamContract):
    kind: str
    build: type

    @classmethod
    def make_model(cls):
        network = BUILD[cls.kind]()
        text = ClipText(tiny_clip(), Tokenizer.from_file(TOKENIZER), "clip")
        size = network.config.prompt_encoder_config.image_size
        return cls.build(network, "tiny", size, 2, LICENCE, text)

    @classmethod
    def save_model(cls, model, folder):
        model.network.save_pretrained(folder)
        model.text.network.save_pretrained(folder / "text")
        model.text.tokenizer.save(folder / "text" / "tokenizer.json")


class TestSam(PointContract):
    kind, build = "sam", Sam
    sizes = ((SIZE, 48), (40, 57), (SIZE, SIZE))


class TestSam2(PointContract):
    kind, build = "sam2", Sam2
    sizes = ((2 * SIZE, 2 * SIZE), (90, 57), (64, 128))


class TestSam3(SamContract):
    sizes = ((56, 56), (56, 40), (33, 45))

    @classmethod
    def make_model(cls):
        return Sam3(BUILD["sam3"](), "tiny", 56, 2, LICENCE, Tokenizer.from_file(TOKENIZER), keep=5)

    @classmethod
    def save_model(cls, model, folder):
        model.network.save_pretrained(folder)
        Tokenizer.from_file(TOKENIZER).save(folder / "tokenizer.json")
