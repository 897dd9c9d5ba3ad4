"""SEEM keeps the contract of models/base.py."""

import torch
from model_contract import ModelContract
from tiny import CONFIG, TOKENIZER, tiny_segmenter

from promptseg.models.seem.checkpoint import save_model_folder


class TestSeem(ModelContract):
    spatial_kinds = ("queries", "grid")

    @classmethod
    def make_model(cls):
        return tiny_segmenter()

    @classmethod
    def save_model(cls, model, folder):
        save_model_folder(folder, model.network, CONFIG, TOKENIZER, "", torch.float32)
