"""Labelling tools that ask promptseg for labels: Label Studio and CVAT."""
