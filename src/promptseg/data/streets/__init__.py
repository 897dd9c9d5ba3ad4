"""Generated street scenes: 19 classes, five conditions, the same pixels for the same seed."""
