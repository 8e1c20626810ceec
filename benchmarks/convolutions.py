"""Times each form of a convolution and its two gradients on this CPU: python -m benchmarks.convolutions [--rounds 5]

The layers are those of DCGAN (5×5, stride 2), of the classifier and of the residual net. For each map and form, the
table gives the median ms of a call, the processor time of a call in ms, and the processor time to compile the form in
ms. An asterisk marks the form that `ops/conv_cpu.py` takes. Each round goes over all forms, so that a noisy moment
meets them all.

Two forms are timed that the CPU never takes: lax's own gradients, and lax.pad with zeros between the pixels, followed
by a convolution of stride 1.
"""

import argparse
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from veegan_jax.ops import conv as lax_forms
from veegan_jax.ops import conv_cpu
from veegan_jax.ops.conv_cpu import LAYOUT, Axes, Axis, Map

# batch, size, channels in and out, window, stride
LAYERS = [
    *((64, size, *channels, 5, 2) for size, channels in ((28, (3, 64)), (14, (64, 128)), (7, (128, 256)))),
    *((64, size, *channels, 5, 2) for size, channels in ((32, (64, 128)), (16, (128, 256)), (4, (256, 512)))),
    *((256, size, *channels, 3, 2) for size, channels in ((14, (32, 64)), (7, (64, 128)))),
    *((64, size, channels, channels, 3, 1) for size, channels in ((32, 32), (16, 64), (8, 128), (4, 256))),
]


def padded_input_grad(y: jax.Array, kernel: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient to x as a convolution of stride 1 over y with zeros between its pixels.

    The barrier keeps XLA from making the zeros a dilation of the convolution again.
    """
    stride = axes[0].stride
    low = [axis.window - 1 - axis.low for axis in axes]
    sizes = [(axis.out - 1) * stride + 1 for axis in axes]
    edges = [
        (before, axis.size + axis.window - 1 - n - before) for axis, n, before in zip(axes, sizes, low, strict=True)
    ]
    between = [(0, 0, 0), (0, 0, stride - 1), (0, 0, stride - 1), (0, 0, 0)]
    y = jax.lax.optimization_barrier(jax.lax.pad(y, jnp.zeros((), y.dtype), between))
    return jax.lax.conv_general_dilated(y, conv_cpu.flip_kernel(kernel), (1, 1), edges, dimension_numbers=LAYOUT)


def padded_kernel_grad(x: jax.Array, y: jax.Array, axes: Axes) -> jax.Array:
    """Returns the gradient to the kernel as a convolution of stride 1 with y, which has zeros between its pixels."""
    stride = axes[0].stride
    images, outputs = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    between = [(0, 0, stride - 1), (0, 0, stride - 1), (0, 0, 0), (0, 0, 0)]
    outputs = jax.lax.optimization_barrier(jax.lax.pad(outputs, jnp.zeros((), y.dtype), between))
    edges = [(axis.low, (axis.out - 1) * stride + axis.window - axis.size - axis.low) for axis in axes]
    grad = jax.lax.conv_general_dilated(images, outputs, (1, 1), edges, dimension_numbers=LAYOUT)
    return grad.transpose(1, 2, 0, 3)


# The names of the operands of each map, and its forms.
FORMS: dict[str, tuple[str, dict[str, Map]]] = {
    "conv": (
        "x kernel",
        {"direct": conv_cpu.direct_conv, "windows": conv_cpu.conv_by_windows, "Winograd": conv_cpu.winograd_conv},
    ),
    "conv_input_grad": (
        "y kernel",
        {
            "lax": lax_forms.lax_input_grad,
            "dilated": conv_cpu.dilated_input_grad,
            "padded": padded_input_grad,
            "phases": conv_cpu.input_grad_by_phases,
            "windows": conv_cpu.input_grad_by_windows,
            "Winograd": conv_cpu.winograd_input_grad,
        },
    ),
    "conv_kernel_grad": (
        "x y",
        {
            "lax": lax_forms.lax_kernel_grad,
            "over examples": conv_cpu.kernel_grad_over_examples,
            "padded": padded_kernel_grad,
            "Winograd": conv_cpu.winograd_kernel_grad,
        },
    ),
}


def measure(forms: dict[str, Map], operands: list[jax.Array], axes: Axes, rounds: int) -> dict[str, list[float]]:
    """Returns the ms of a call, its processor time, and the processor time of compilation, by the name of the form."""
    calls: dict[str, Any] = {}
    compilation: dict[str, float] = {}
    wall: dict[str, list[float]] = {name: [] for name in forms}
    processor: dict[str, list[float]] = {name: [] for name in forms}
    for name, form in forms.items():
        lowered = jax.jit(form, static_argnums=2).lower(*operands, axes)
        busy = time.process_time()
        calls[name] = lowered.compile()
        compilation[name] = (time.process_time() - busy) * 1e3
    for name in list(forms) * (rounds + 1):  # the first round warms up
        start, busy = time.perf_counter(), time.process_time()
        calls[name](*operands).block_until_ready()
        processor[name].append((time.process_time() - busy) * 1e3)
        wall[name].append((time.perf_counter() - start) * 1e3)
    return {
        name: [statistics.median(wall[name][1:]), statistics.median(processor[name][1:]), compilation[name]]
        for name in forms
    }


def main() -> None:
    """Times the forms of every layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for batch, size, inputs, outputs, window, stride in LAYERS:
        axes = (Axis(size, window, stride),) * 2
        shapes = {
            "x": (batch, size, size, inputs),
            "kernel": (window, window, inputs, outputs),
            "y": (batch, axes[0].out, axes[0].out, outputs),
        }
        arrays = {name: jax.random.normal(jax.random.key(0), shape) for name, shape in shapes.items()}
        layer = conv_cpu.Layer(batch, inputs, outputs, arrays["x"].dtype)
        choices = conv_cpu.conv_form, conv_cpu.input_grad_form, conv_cpu.kernel_grad_form
        taken = [choose(axes, layer) for choose in choices]
        print(f"{batch} × {size}×{size}, {inputs} → {outputs}, {window}×{window}, stride {stride}")
        for function, (operands, forms) in FORMS.items():
            print(f"    {function:28} ms a call   processor   compilation")
            if conv_cpu.winograd_conv not in taken:
                forms = {name: form for name, form in forms.items() if name != "Winograd"}
            measured = measure(forms, [arrays[name] for name in operands.split()], axes, rounds)
            for name, (wall, processor, compilation) in measured.items():
                mark = "*" if forms[name] in taken else " "
                print(f"      {mark} {name:24} {wall:9.2f} {processor:11.2f} {compilation:13.0f}", flush=True)


if __name__ == "__main__":
    main()
