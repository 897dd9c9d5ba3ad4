"""Models: what they are to the rest of the package, and how they are loaded by name."""
