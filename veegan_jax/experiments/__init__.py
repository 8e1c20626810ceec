"""Whole experiments: one run, and a comparison of several."""
