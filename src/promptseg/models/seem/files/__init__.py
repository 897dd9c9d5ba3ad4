"""Weights and numbers on disk: model folders, official checkpoints and their configuration files."""
