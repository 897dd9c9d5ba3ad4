"""Data: samples, splits, label spaces, file formats, the check of a data set and the draw of shots."""
