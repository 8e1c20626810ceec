"""The configuration: its fields, its checks, its explanation, and the parts that it names."""

from veegan_jax.config.fields import base_config

__all__ = ["base_config"]
