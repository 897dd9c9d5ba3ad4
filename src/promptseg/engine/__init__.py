"""What drives model, method and task: fit, evaluate, predict. It never asks which of them it runs."""
