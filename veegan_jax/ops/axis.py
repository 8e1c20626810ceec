"""The device axis, by name."""

import jax

# The device axis over which batch statistics are taken, wherever it is bound.
AXIS = "devices"


def bound_axis() -> str | None:
    """`AXIS` where the batch is split over devices, and None where it is not."""
    try:
        jax.lax.axis_index(AXIS)
    except NameError:
        return None
    return AXIS
