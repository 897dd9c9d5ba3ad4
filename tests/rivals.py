"""Methods that change weights of a view of the model, by name, for tests that take them apart from the others."""

RIVALS = ("bitfit", "lora", "finetune-decoder", "finetune-all")
CHANGE_WEIGHTS = ("ssf", *RIVALS)
