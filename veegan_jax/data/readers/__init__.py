"""Readers of data on disk: IDX files, image files, arrays, and sets of TensorFlow Datasets."""
