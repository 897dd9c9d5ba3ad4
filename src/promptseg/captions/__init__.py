"""How often class names occur in a corpus of captions."""
