"""Image features, computed once and kept, and what the decoder makes of them whatever the prompts."""
