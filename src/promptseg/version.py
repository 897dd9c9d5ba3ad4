"""The one place of the version; imports nothing, so that every layer may ask for it."""

__version__ = "0.1.0"
