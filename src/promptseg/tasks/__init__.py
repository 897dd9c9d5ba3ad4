"""What is asked of a segmenter: loss, post-processing and metric of each task."""
