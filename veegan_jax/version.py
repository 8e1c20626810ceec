"""The version, apart from everything that needs packages, so that a build can read it."""

__version__ = "0.2.0"
