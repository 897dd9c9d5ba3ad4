"""Rivals: what else can be made of the same shots. They change weights of a view of the model, or read its frozen maps.

None of them is the paper's method. Those that change weights show what prompts give up, the readers what prompts add.
"""
