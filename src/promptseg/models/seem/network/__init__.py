"""The network, under the parameter names of the official checkpoints."""
