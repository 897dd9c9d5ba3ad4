"""SEEM in plain PyTorch, under the parameter names of the official checkpoints."""
