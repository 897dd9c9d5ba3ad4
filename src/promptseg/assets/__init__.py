"""Data that come with the package."""

from pathlib import Path

LITE_FOLDER = Path(__file__).with_name("seem-lite")
"""Model folder of seem-lite."""
WORDS_FILE = Path(__file__).with_name("words.txt")
"""A few hundred words of streets and rooms, one a line."""
