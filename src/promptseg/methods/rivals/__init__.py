"""Rivals that change weights, of a view of the model; they show what prompts give up. None is the paper's method."""
