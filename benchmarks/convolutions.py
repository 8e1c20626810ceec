"""Speed of each form of a convolution's three maps on this CPU: python -m benchmarks.convolutions [--rounds 5]

For layers of DCGAN (5×5, stride 2), of the classifier and of the residual net, prints the median ms of a call, and
marks the form that `trilinear` chooses.
"""

import argparse
import statistics
import time

import jax

from veegan_jax.ops import conv_cpu as trilinear
from veegan_jax.ops.conv_cpu import Axis

# batch, size, channels in and out, window, stride
LAYERS = [
    *((64, size, *channels, 5, 2) for size, channels in ((28, (3, 64)), (14, (64, 128)), (7, (128, 256)))),
    *((64, size, *channels, 5, 2) for size, channels in ((32, (64, 128)), (16, (128, 256)), (4, (128, 256)))),
    *((256, size, *channels, 3, 2) for size, channels in ((14, (32, 64)), (7, (64, 128)))),
    *((64, size, channels, channels, 3, 1) for size, channels in ((32, 32), (16, 64), (8, 128), (4, 256))),
    *((64, size, channels, channels, 1, 1) for size, channels in ((32, 32), (8, 128))),
]
FORMS = {"correlations": trilinear.CORRELATIONS, "patches": trilinear.PATCHES, "winograd": trilinear.WINOGRAD}


def main() -> None:
    """Times the forms of every layer, round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for batch, size, inputs, outputs, window, stride in LAYERS:
        axes = (Axis(size, window, stride),) * 2
        shapes = {
            "x": (batch, size, size, inputs),
            "w": (window, window, inputs, outputs),
            "y": (batch, axes[0].out, axes[0].out, outputs),
        }
        arrays = {name: jax.random.normal(jax.random.key(0), shape) for name, shape in shapes.items()}
        chosen = trilinear._fastest(axes, arrays["w"])
        print(f"{batch} × {size}×{size}, {inputs} → {outputs}, {window}×{window}, stride {stride}")
        for field, (a, b) in {"to_y": ("x", "w"), "to_x": ("y", "w"), "to_w": ("x", "y")}.items():
            times: dict[str, list[float]] = {name: [] for name in FORMS}
            calls = {name: jax.jit(getattr(maps, field), static_argnums=2) for name, maps in FORMS.items()}
            for name in list(FORMS) * (rounds + 1):
                start = time.perf_counter()
                calls[name](arrays[a], arrays[b], axes).block_until_ready()
                times[name].append((time.perf_counter() - start) * 1e3)
            medians = {name: statistics.median(measured[1:]) for name, measured in times.items()}  # the first compiles
            row = (f"{name} {ms:8.2f}{'*' if FORMS[name] is chosen else ' '}" for name, ms in medians.items())
            print(f"    {field}  {'  '.join(row)}", flush=True)


if __name__ == "__main__":
    main()
