"""Pixel prompts: one embedding per class over a model's dense maps, solved from sampled pixels."""
