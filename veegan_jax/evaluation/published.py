"""Figures that others have published on the data of this project, as they were printed."""

from collections.abc import Mapping
from typing import Any

Rows = Mapping[str, Mapping[str, str]]

# `{data: {row: {column: text}}}`; the name of a row says whose figures they are. They are from Table 1 (ring, grid,
# synthetic1200) and Table 2 (stacked_mnist; IvOM on cifar10, as mean squared error per pixel on [0, 1]) of VEEGAN
# (Srivastava et al., NIPS 2017), from Tables 1 and 2 of PacGAN (Lin et al., NeurIPS 2018), and from R3GAN (Huang et
# al., NeurIPS 2024).
PUBLISHED: Mapping[str, Rows] = {
    "ring": {
        "gan (paper)": {"modes": "1", "high_quality": "99.3"},
        "ali (paper)": {"modes": "2.8", "high_quality": "0.13"},
        "unrolled (paper)": {"modes": "7.6", "high_quality": "35.6"},
        "veegan (paper)": {"modes": "8", "high_quality": "52.9"},
        "gan (PacGAN's run)": {"modes": "6.3", "high_quality": "98.2", "kl": "0.45"},
        "ali (PacGAN's run)": {"modes": "6.6", "high_quality": "97.6", "kl": "0.36"},
        "PacGAN, 2 packed": {"modes": "7.9", "high_quality": "95.6", "kl": "0.07"},
        "PacGAN, 4 packed": {"modes": "7.8", "high_quality": "95.9", "kl": "0.07"},
    },
    "grid": {
        "gan (paper)": {"modes": "3.3", "high_quality": "0.5"},
        "ali (paper)": {"modes": "15.8", "high_quality": "1.6"},
        "unrolled (paper)": {"modes": "23.6", "high_quality": "16"},
        "veegan (paper)": {"modes": "24.6", "high_quality": "40"},
        "gan (PacGAN's run)": {"modes": "17.3", "high_quality": "94.8", "kl": "0.70"},
        "ali (PacGAN's run)": {"modes": "24.1", "high_quality": "95.7", "kl": "0.14"},
        "PacGAN, 2 packed": {"modes": "23.8", "high_quality": "91.3", "kl": "0.13"},
        "PacGAN, 4 packed": {"modes": "24.8", "high_quality": "93.6", "kl": "0.04"},
    },
    "synthetic1200": {
        "gan (paper)": {"modes": "1.6", "high_quality": "2.0"},
        "ali (paper)": {"modes": "3", "high_quality": "5.4"},
        "unrolled (paper)": {"modes": "0", "high_quality": "0.0"},
        "veegan (paper)": {"modes": "5.5", "high_quality": "28.29"},
    },
    "stacked_mnist": {
        "gan (paper)": {"modes": "99", "kl": "3.4"},
        "ali (paper)": {"modes": "16", "kl": "5.4"},
        "unrolled (paper)": {"modes": "48.7", "kl": "4.32"},
        "veegan (paper)": {"modes": "150", "kl": "2.95"},
        "gan (PacGAN's run)": {"modes": "78.9", "kl": "4.50"},
        "PacGAN, 2 packed": {"modes": "1000", "kl": "0.06 ± 0.003"},
        "PacGAN, 4 packed": {"modes": "1000", "kl": "0.07 ± 0.005"},
        "R3GAN": {"modes": "1000", "kl": "0.029"},
    },
    "cifar10": {
        "gan (paper)": {"ivom_held_out": "0.00844 ± 0.002"},
        "ali (paper)": {"ivom_held_out": "0.0067 ± 0.004"},
        "unrolled (paper)": {"ivom_held_out": "0.013 ± 0.0009"},
        "veegan (paper)": {"ivom_held_out": "0.0068 ± 0.0001"},
    },
}
# Figures for stacked MNIST of four channels.
FOUR_CHANNELS: Rows = {"best known": {"modes": "10000", "kl": "0.048"}}


def published(config: Any) -> Rows:
    """Returns the published figures on the data of a config, `{row: {column: text}}`; empty if there are none."""
    if config.data == "stacked_mnist" and config.stacked_mnist.channels == 4:
        return FOUR_CHANNELS
    return PUBLISHED.get(config.data, {})
