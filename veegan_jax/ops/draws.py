"""Random draws from a key, as plain operations that XLA fuses with what reads the draws.

The generator is JAX's own, threefry, and a key is a key of JAX. On a CPU, `jax.random` runs the rounds of the hash as a
loop whose turns write all words to memory and read them again, and it throws away one of the two words of each hash.
Here nothing is written but the draws, and both words are used: a normal takes a third of the time.

Each draw is a function of the key and of its position alone.
"""

import jax
import jax.numpy as jnp
import numpy as np

# The rotations of the rounds, and the constant of the key schedule (Salmon et al., SC 2011).
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def threefry(key: jax.Array, high: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Hashes counters by threefry-2x32 with 20 rounds (Salmon et al., SC 2011), as `jax.random` does.

    Args:
        key: A typed key `[]`.
        high: The first words of the counters, uint32 `[…]`.
        low: The second words of the counters, uint32 `[…]`.

    Returns:
        The two words of each hash, uint32 `[…]`.
    """
    first, second = jax.random.key_data(key)
    schedule = (first, second, first ^ second ^ _PARITY)
    a, b = high + schedule[0], low + schedule[1]
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            a = a + b
            b = a ^ ((b << np.uint32(rotation)) | (b >> np.uint32(32 - rotation)))
        a, b = a + schedule[(i + 1) % 3], b + schedule[(i + 2) % 3] + np.uint32(i + 1)
    return a, b


def fold_in(key: jax.Array, data: int | jax.Array) -> jax.Array:
    """Returns the key `[]` that `jax.random.fold_in` returns, for an integer `[]`."""
    word = jnp.asarray(data).astype(jnp.uint32)
    return jax.random.wrap_key_data(jnp.stack(threefry(key, jnp.zeros_like(word), word)), impl="threefry2x32")


def _words(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """Returns two arrays of independent words, uint32 `[n]` each."""
    counters = jnp.arange(n, dtype=jnp.uint32)
    return threefry(key, jnp.zeros_like(counters), counters)


def integers(key: jax.Array, n: int, bound: int) -> jax.Array:
    """Draws integers from 0 to `bound` − 1, int32 `[n]`.

    They are words of 32 bits modulo `bound`, so some integers are more likely than others, by a factor of at most
    1 + `bound` / 2³¹.
    """
    first, _ = _words(key, n)
    return (first % np.uint32(bound)).astype(jnp.int32)


def uniforms(key: jax.Array, n: int) -> jax.Array:
    """Draws from the uniform distribution on [0, 1), in steps of 2⁻²⁴, float32 `[n]`."""
    first, _ = _words(key, n)
    return (first >> np.uint32(8)).astype(jnp.float32) * np.float32(2**-24)


def normals(key: jax.Array, n: int) -> jax.Array:
    """Draws independent standard normals, float32 `[n]` (Box and Muller, 1958).

    A hash gives two normals, the coordinates of a point of the plane. One word, of which 31 bits are used, gives its
    radius, and the other its direction, in steps of 2⁻³² of a turn. No normal is larger than 6.67; one in 4·10¹⁰ would
    be. The normals of `jax.random.normal`, which are made of 23 bits, end at 5.5.
    """
    first, second = _words(key, (n + 1) // 2)
    uniform = (first >> np.uint32(1)).astype(jnp.int32).astype(jnp.float32) * np.float32(2**-31) + np.float32(2**-32)
    radius = jnp.sqrt(-2 * jnp.log(uniform))
    cos, sin = _direction(second)
    return jnp.concatenate([radius * cos, radius * sin])[:n]


def _direction(word: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the cosine and sine of a uniform angle, float32 `[…]` within 4·10⁻⁷, of words uint32 `[…]`.

    The lower 30 bits are an angle t from −π/4 to π/4, where short polynomials suffice (XLA's own cosine takes three
    times as long on a CPU). The upper two bits choose among the four quarters of the circle: they swap the coordinates,
    and turn the point around.
    """
    signed = jax.lax.bitcast_convert_type(word << np.uint32(2), jnp.int32)
    t = signed.astype(jnp.float32) * np.float32(np.pi / 2 * 2**-32)
    square = t * t
    sin = t * _polynomial(square, (1, -1 / 6, 1 / 120, -1 / 5040))
    cos = _polynomial(square, (1, -1 / 2, 1 / 24, -1 / 720, 1 / 40320))
    swapped = (word >> np.uint32(30)) % 2 == 1
    sign = jnp.where(word >> np.uint32(31) == 1, np.float32(-1), np.float32(1))
    return sign * jnp.where(swapped, sin, cos), sign * jnp.where(swapped, cos, sin)


def _polynomial(x: jax.Array, coefficients: tuple[float, ...]) -> jax.Array:
    """Returns the sum of cᵢ·xⁱ, float32 `[…]`, by Horner's rule."""
    value = jnp.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        value = value * x + np.float32(c)
    return value
