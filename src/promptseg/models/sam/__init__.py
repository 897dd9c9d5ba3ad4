"""The SAM family, loaded by `transformers`: SAM and SAM 2 (points and a token per class), SAM 3 (text and queries)."""
