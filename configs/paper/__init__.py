"""The tables of the paper, each data set as a comparison."""
