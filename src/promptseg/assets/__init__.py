"""Data that come with the package."""

from pathlib import Path

NANO_FOLDER = Path(__file__).with_name("seem-nano")
"""Model folder of seem-nano."""
WORDS_FILE = Path(__file__).with_name("words.txt")
"""A few hundred words of streets and rooms, one a line."""
