"""Methods that are not learned prompts alone, by name, for tests that take them apart from the others."""

CHANGE_WEIGHTS = ("ssf", "bitfit", "lora", "finetune-decoder", "finetune-all")
"""They change weights of a view of the model."""
READERS = ("linear", "prototype", "prototype-text")
"""They are solved over the frozen maps, and trained nowhere."""
SOLVED = ("pixprompt", "sspixprompt", "ssf-pixprompt", "lora-pixprompt")
"""Pixel prompts are solved, after what else they learn."""
APART = (*CHANGE_WEIGHTS, *READERS, *SOLVED)
