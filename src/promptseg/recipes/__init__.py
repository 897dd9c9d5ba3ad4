"""Experiments as data and a few lines: what is run, and how it is shown."""
