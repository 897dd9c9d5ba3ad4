"""`promptseg app`: a page in the browser that labels a folder of photos while it learns."""
