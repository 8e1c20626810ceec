"""Readers of files: IDX, images, arrays, sets of TensorFlow Datasets."""
