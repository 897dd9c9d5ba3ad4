"""Data formats: one file per layout on disk, each with a loader that `data.registry` names."""
