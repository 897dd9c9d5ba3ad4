"""What drives model, learner and task: fit, evaluate, predict. It never asks which of them it runs."""
