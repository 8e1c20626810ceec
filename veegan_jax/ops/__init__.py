"""Numerical kernels without parameters."""
