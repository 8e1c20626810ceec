"""Examples that a user gives as an array: what they have to be."""

import logging

import numpy as np
from numpy.typing import ArrayLike

from veegan_jax.errors import UserError, one_line

_log = logging.getLogger("veegan_jax")
# How far beyond [−1, 1] rounding may bring a pixel; float16 and bfloat16 round by this much.
_ROUNDING = 2**-7


def as_examples(x: ArrayLike, shape: tuple[int, ...], bounded: bool, name: str = "x") -> np.ndarray:
    """Returns examples as float32, checked: a network answers any numbers, those of a wrong scale with garbage.

    Integers are refused where data are bounded, and not scaled: a pixel of 8 bits may lie in 0 to 255, or in 0 to 16 as
    the small digits have it, and only the caller knows which.

    Args:
        x: examples `[n, *shape]` with n ≥ 1, of any float dtype (or of integers, where data are not bounded).
        shape: the shape of one example.
        bounded: whether the data lie in [−1, 1], as images do.
        name: what the caller calls the array.

    Raises:
        UserError: naming the shape, dtype or range that is wrong, and what to type instead.
    """
    try:
        given = np.asarray(x)
    except Exception as error:  # a ragged list, or a tensor of another library that is on a device
        raise UserError(f"{name} is no array: {one_line(error)}; it must be floats {_wanted(shape)}") from error
    if given.shape[1:] != shape or len(given) == 0:
        raise UserError(f"{name} has shape {given.shape}; it must be {_wanted(shape)} with n ≥ 1{_hint(given, shape)}")
    if bounded and given.dtype.kind in "iub":
        raise UserError(
            f"{name} is {given.dtype}; it must be floats in [−1, 1], as the data are scaled: for pixels of 0 to 255 "
            f"give {name} / 127.5 - 1"
        )
    # The kind of bfloat16, which numpy does not know, is V.
    if given.dtype.kind not in "fiu" and given.dtype.name != "bfloat16":
        raise UserError(f"{name} is {given.dtype}; it must be floats {_wanted(shape)}")
    floats = given.astype(np.float32)
    if bad := int(np.sum(~np.isfinite(floats))):
        raise UserError(f"{name} has {bad:,} values that are not finite, of {floats.size:,}; take them out")
    least, most = float(floats.min()), float(floats.max())
    if bounded and max(-least, most) > 1 + _ROUNDING:
        raise UserError(
            f"{name} lies in {least:.4g} to {most:.4g}; it must lie in −1 to 1, as the data are scaled: for pixels of "
            f"0 to 255 give {name} / 127.5 - 1"
        )
    if bounded and least >= 0:
        _log.warning("%s lies in %.4g to %.4g; if it is scaled to 0 to 1, give 2 * %s - 1", name, least, most, name)
    return floats


def _wanted(shape: tuple[int, ...]) -> str:
    return f"[n, {', '.join(map(str, shape))}]"


def _hint(given: np.ndarray, shape: tuple[int, ...]) -> str:
    """Returns what to type where a wrong shape is a usual one."""
    if given.shape == shape:
        return "; for one example give x[None]"
    if len(shape) == 3 and given.shape[1:] == (shape[2], *shape[:2]):
        return "; channels come last: give np.moveaxis(x, 1, -1)"
    if len(shape) == 3 and shape[2] == 1 and given.shape[1:] == shape[:2]:
        return "; give x[..., None]"
    return ""
