"""The product's networks in PyTorch, as functions of tensors by the names of the product's parameters.

PyTorch pads a convolution of stride 2 alike on all sides, and 'SAME' padding puts the odd pixel at the end. The two
agree on mirrored images with mirrored kernels. So all images here are `[B, C, H, W]` and mirrored, and no padding costs
a copy.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - this is the name by which it is known
from flax.traverse_util import flatten_dict, unflatten_dict

from veegan_jax.models.convolution import pyramid

Tensor = Any
Tensors = Mapping[str, Tensor]
Shape = tuple[int, ...]
# The orders of a layer's inputs and of its outputs: the product's index of each of PyTorch's.
Orders = Mapping[str, tuple[np.ndarray, np.ndarray]]

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": lambda h: F.leaky_relu(h, 0.2),
    "tanh": torch.tanh,
    "elu": F.elu,
    "silu": F.silu,
}


class Net(NamedTuple):
    """A network.

    Attributes:
        apply: `apply(params, *inputs) -> output`, where images are `[B, C, H, W]` and mirrored.
        orders: The layers, by name, whose inputs or outputs are pixels.
    """

    apply: Callable[..., Tensor]
    orders: Orders


def mirrored(images: np.ndarray) -> np.ndarray:
    """Returns images `[B, H, W, C]` as the nets here see them, `[B, C, H, W]`; other arrays are left alone."""
    return images[:, ::-1, ::-1].transpose(0, 3, 1, 2) if images.ndim == 4 else images


def order(*shapes: Shape) -> np.ndarray:
    """Returns the product's index of each number here, where examples of these shapes are flattened and joined."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    starts = itertools.accumulate(sizes, initial=0)
    flat = (np.arange(size).reshape(1, *shape) for size, shape in zip(sizes, shapes, strict=True))
    return np.concatenate([start + mirrored(indices).ravel() for start, indices in zip(starts, flat, strict=False)])


def from_product(tree: Any, orders: Orders) -> dict[str, np.ndarray]:
    """Returns the product's parameters of one net as PyTorch's, by name."""

    def convert(name: str, leaf: np.ndarray) -> np.ndarray:
        layer, _, kind = name.rpartition("/")
        if leaf.ndim == 4:
            return leaf[::-1, ::-1].transpose((2, 3, 0, 1) if "ConvTranspose" in layer else (3, 2, 0, 1))
        if layer in orders:
            rows, columns = orders[layer]
            leaf = leaf[rows][:, columns] if kind == "kernel" else leaf[columns]
        return leaf.T

    found = {name: convert(name, np.asarray(leaf)) for name, leaf in flatten_dict(tree, sep="/").items()}
    return {name: np.array(leaf, np.float32, order="C") for name, leaf in found.items()}


def to_product(params: Mapping[str, np.ndarray], orders: Orders) -> Any:
    """Returns the parameters of one net in the product's form: the inverse of `from_product`."""

    def convert(name: str, leaf: np.ndarray) -> np.ndarray:
        layer, _, kind = name.rpartition("/")
        if leaf.ndim == 4:
            return leaf.transpose((2, 3, 0, 1) if "ConvTranspose" in layer else (2, 3, 1, 0))[::-1, ::-1]
        leaf = leaf.T
        if layer in orders:
            rows, columns = map(np.argsort, orders[layer])
            leaf = leaf[rows][:, columns] if kind == "kernel" else leaf[columns]
        return leaf

    return unflatten_dict({name: convert(name, leaf) for name, leaf in params.items()}, sep="/")


def make_nets(config: Any, inputs: Mapping[str, Sequence[Shape]], shape: Shape, bounded: bool) -> dict[str, Net]:
    """Returns the nets of a config by name.

    Args:
        config: the run's fields.
        inputs: the shapes of one example of each input of each net, `{net: (shape, …)}`, before packing.
        shape: the shape of one example of the data.
        bounded: whether data lie in [−1, 1].
    """
    make, nets = MODELS[config.model], {}
    for name, shapes in inputs.items():
        if name == "gen":
            nets[name] = make(config, "gen", shapes, shape, bounded)
        elif name == "rec":
            nets[name] = make(config, "rec", shapes, (config.latent_dim,), False)
        else:
            wide = [(*one[:-1], config.packing * one[-1]) for one in shapes]
            nets[name] = packed(make(config, "disc", wide, (), False), config.packing)
    return nets


def packed(net: Net, m: int) -> Net:
    """Returns a net that sees `m` examples at once, joined along features or channels."""
    if m == 1:
        return net

    def pack(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0] // m, m * x.shape[1], *x.shape[2:])

    return Net(lambda params, *inputs: net.apply(params, *map(pack, inputs)), net.orders)


def chain(
    name: str, widths: Sequence[int], activation: str, inputs: Sequence[Shape], output: Shape, bounded: bool = False
) -> Net:
    """Returns an MLP with hidden layers of these widths, whose layers are those of the product's module of a name."""
    names = [f"{name}Dense_{i}" for i in range(len(widths) + 1)]
    shaped = (*output[2:], *output[:2])

    def apply(params: Tensors, *inputs: Tensor) -> Tensor:
        h = torch.cat([x.flatten(1) for x in inputs], 1) if len(inputs) > 1 else inputs[0].flatten(1)
        for layer in names:
            h = F.linear(h, params[f"{layer}/kernel"], params[f"{layer}/bias"])
            h = ACTIVATIONS[activation](h) if layer != names[-1] else h
        return (torch.tanh(h) if bounded else h).reshape(-1, *shaped)

    ends = [order(*inputs), *(order((width,)) for width in widths), order(output)]
    return Net(apply, dict(zip(names, itertools.pairwise(ends), strict=True)))


def mlp(config: Any, role: str, inputs: Sequence[Shape], output: Shape, bounded: bool) -> Net:
    """Returns one of the nets of `models/mlp.py`."""
    c = config.mlp
    return chain("", c[f"{role}_hidden"], c.activation, inputs, output, bounded)


def head(
    hidden: Sequence[int], trunk: Callable[..., Tensor], features: Shape, inputs: Sequence[Shape], k: Shape
) -> Net:
    """Returns an MLP on latents and on the features of a trunk, as in `models/heads.py`."""
    hidden = () if not k and len(inputs) == 1 else hidden
    mlp = chain("Mlp_0/", hidden, "leaky_relu", [*inputs[:-1], features], k)

    def apply(params: Tensors, *inputs: Tensor) -> Tensor:
        return mlp.apply(params, *inputs[:-1], trunk(params, inputs[-1]))

    return Net(apply, mlp.orders)


def norm(params: Tensors, name: str, h: Tensor) -> Tensor:
    """Normalises by the statistics of the batch."""
    return F.batch_norm(h, None, None, params[f"{name}/norm/scale"], params[f"{name}/norm/bias"], True, eps=1e-5)


def dcgan(config: Any, role: str, inputs: Sequence[Shape], output: Shape, bounded: bool) -> Net:
    """Returns one of the nets of `models/dcgan.py`."""
    c, images = config.dcgan, output if role == "gen" else inputs[-1]
    sizes, normalises, pad = pyramid(images, c.smallest), c[f"{role}_norm"] == "batch", c.kernel_size // 2
    ratio = c.disc_ratio if role == "disc" else 1.0
    widths = [max(1, round(ratio * c.base_width * 2**i)) for i in range(len(sizes) - 1)]

    def trunk(params: Tensors, h: Tensor) -> Tensor:
        for i in range(len(widths)):
            layer = f"trunk/Conv_{i}"
            h = F.conv2d(h, params[f"{layer}/kernel"], params.get(f"{layer}/bias"), 2, pad)
            h = norm(params, f"trunk/BatchNorm_{i - 1}", h) if normalises and i > 0 else h
            h = F.leaky_relu(h, 0.2)
        return h

    if role != "gen":
        return head(c[f"{role}_hidden"], trunk, (*sizes[-1], widths[-1]), inputs, output)
    first = chain("Mlp_0/", (), "relu", inputs, (*sizes[-1], widths[-1]))

    def apply(params: Tensors, *inputs: Tensor) -> Tensor:
        h = first.apply(params, *inputs)
        for i, (small, large) in enumerate(itertools.pairwise(reversed(sizes))):
            h = F.relu(norm(params, f"BatchNorm_{i}", h) if normalises else h)
            layer, extra = (
                f"ConvTranspose_{i}",
                [n - 2 * m + 2 * pad + 2 - c.kernel_size for n, m in zip(large, small, strict=True)],
            )
            h = F.conv_transpose2d(h, params[f"{layer}/kernel"], params.get(f"{layer}/bias"), 2, pad, extra)
        return torch.tanh(h) if bounded else h

    return Net(apply, first.orders)


def pixelwise(params: Tensors, name: str, h: Tensor) -> Tensor:
    """Applies the product's `Dense` layer of a name to each pixel."""
    return F.conv2d(h, params[f"{name}/kernel"][:, :, None, None], params.get(f"{name}/bias"))


def resnet(config: Any, role: str, inputs: Sequence[Shape], output: Shape, bounded: bool) -> Net:
    """Returns one of the nets of `models/resnet.py`."""
    c, images = config.resnet, output if role == "gen" else inputs[-1]
    sizes = pyramid(images, c.smallest)
    widths = [c.base_width * 2**i for i in range(len(sizes))]
    way = -1 if role == "gen" else 1

    def block(params: Tensors, name: str, h: Tensor) -> Tensor:
        f = F.leaky_relu(pixelwise(params, f"{name}/Dense_0", h), 0.2)
        f = F.leaky_relu(F.conv2d(f, params[f"{name}/Conv_0/kernel"], params[f"{name}/Conv_0/bias"], 1, 1), 0.2)
        return h + pixelwise(params, f"{name}/Dense_1", f)

    def stages(name: str, params: Tensors, h: Tensor) -> Tensor:
        for i, size in enumerate(sizes[::way]):
            shrinks = size < tuple(h.shape[2:])
            h = resized(h, size) if shrinks else h
            h = pixelwise(params, f"{name}/Dense_{i}", h)
            h = h if shrinks else resized(h, size)
            for j in range(c.blocks):
                h = block(params, f"{name}/Block_{i * c.blocks + j}", h)
        return h

    smallest = (*sizes[-1], widths[-1])
    if role != "gen":
        return head(c[f"{role}_hidden"], functools.partial(stages, "trunk"), smallest, inputs, output)
    first = chain("Mlp_0/", (), "leaky_relu", inputs, smallest)

    def apply(params: Tensors, *inputs: Tensor) -> Tensor:
        h = pixelwise(params, "Dense_0", stages("stages", params, first.apply(params, *inputs)))
        return torch.tanh(h) if bounded else h

    return Net(apply, first.orders)


def resized(h: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolates images to a size, with a triangle filter against aliasing where they shrink."""
    if tuple(h.shape[2:]) == size:
        return h
    return F.interpolate(h, size, mode="bilinear", antialias=size < tuple(h.shape[2:]))


MODELS: Mapping[str, Callable[..., Net]] = {"mlp": mlp, "dcgan": dcgan, "resnet": resnet}
