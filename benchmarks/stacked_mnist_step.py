"""Speed of a VEEGAN step on DCGAN nets on this machine: python -m benchmarks.stacked_mnist_step [--rounds 10]

Images of 28×28×3, DCGAN of base width 64 with batch normalisation, batches of 64, Adam, float32. Times, alternating in
one process: steps fused by `lax.scan`; one step a call; the same with lax's own gradients of convolutions; and PyTorch
(where it is installed) on the same nets, losses and optimizer, in both of its layouts. Prints the least and the median
of the rounds in ms a step, their processor time, and the median as a ratio of PyTorch's better one.

Where other work takes the processors, threads wait for one another, and only the processor time of a single one tells:
NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.stacked_mnist_step
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import optax

from veegan_jax.models.dcgan import dcgan

BATCH, LATENTS, SHAPE, IMAGES = 64, 100, (28, 28, 3), 4096
Run = Callable[[], None]


def ours(steps: int) -> Run:
    """Runs `steps` steps, fused into one call."""
    nets = dcgan(shape=SHAPE, bounded=True, dtype="float32")
    gen, rec, disc = nets.gen, nets.rec(LATENTS), nets.disc
    keys = dict(zip(("gen", "rec", "disc", "data"), jax.random.split(jax.random.key(0), 4), strict=True))
    params = {
        "gen": gen.init(keys["gen"], (LATENTS,)),
        "rec": rec.init(keys["rec"], SHAPE),
        "disc": disc.init(keys["disc"], (LATENTS,), SHAPE),
    }
    data = jax.random.uniform(keys["data"], (IMAGES, *SHAPE), minval=-1.0)
    adam = optax.adam(2e-4, b1=0.5)

    def losses(params: Any, x: jax.Array, z: jax.Array, xi: jax.Array) -> jax.Array:
        fixed = jax.lax.stop_gradient(params)
        x_g = gen.apply(params["gen"], z)
        z_g = jax.lax.stop_gradient(rec.apply(fixed["rec"], x) + xi)
        generated = disc.apply(params["disc"], z, jax.lax.stop_gradient(x_g))
        disc_loss = jnp.mean(jax.nn.softplus(-generated)) + jnp.mean(
            jax.nn.softplus(disc.apply(params["disc"], z_g, x))
        )
        reconstruction = 0.5 * jnp.sum((z - rec.apply(params["rec"], x_g)) ** 2, axis=1)
        return disc_loss + jnp.mean(disc.apply(fixed["disc"], z, x_g)) + jnp.mean(reconstruction)

    def step(state: Any, key: jax.Array) -> tuple[Any, None]:
        params, opt_state = state
        which, normal = jax.random.split(key)
        x = data[jax.random.randint(which, (BATCH,), 0, IMAGES)]
        z, xi = jax.random.normal(normal, (2, BATCH, LATENTS))
        updates, opt_state = adam.update(jax.grad(losses)(params, x, z, xi), opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    keys_of_steps = jax.random.split(jax.random.key(1), steps)
    call = jax.jit(lambda state: jax.lax.scan(step, state, keys_of_steps)[0], donate_argnums=0)
    if steps == 1:
        call = jax.jit(lambda state: step(state, keys_of_steps[0])[0], donate_argnums=0)
    state: Any = (params, adam.init(params))
    compiled = call.lower(state).compile()  # here, in the form of convolutions that is on now

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state))

    return run


@contextmanager
def laxs_convolutions() -> Iterator[None]:
    """Convolutions and their gradients as accelerators have them, lax's own, while a step is traced."""

    def default_form(*operands: Any, default: Callable[..., Any], **_: Callable[..., Any]) -> Any:
        return default(*operands)

    with mock.patch.object(jax.lax, "platform_dependent", default_form):
        yield


def pytorch(steps: int, channels_last: bool) -> Run | None:
    """Runs the same step in PyTorch, without any forward pass twice; None where PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    nn, softplus = torch.nn, torch.nn.functional.softplus

    def norm(width: int) -> Any:
        return nn.BatchNorm2d(width, track_running_stats=False)

    def trunk() -> Any:
        return nn.Sequential(
            nn.Conv2d(3, 64, 5, 2, 2), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 5, 2, 2, bias=False), norm(128), nn.LeakyReLU(0.2),
            nn.Conv2d(128, 256, 5, 2, 2, bias=False), norm(256), nn.LeakyReLU(0.2),
            nn.Flatten(),
        )  # fmt: skip

    gen = nn.Sequential(
        nn.Linear(LATENTS, 4096), nn.Unflatten(1, (256, 4, 4)), norm(256), nn.ReLU(),
        nn.ConvTranspose2d(256, 128, 5, 2, 2, bias=False), norm(128), nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 5, 2, 2, 1, bias=False), norm(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 3, 5, 2, 2, 1), nn.Tanh(),
    )  # fmt: skip
    leaky = nn.LeakyReLU(0.2)
    mlp = nn.Linear(4096, 500), leaky, nn.Linear(500, 500), leaky, nn.Linear(500, LATENTS)
    rec = nn.Sequential(trunk(), *mlp)
    disc = nn.ModuleList([trunk(), nn.Sequential(nn.Linear(LATENTS + 4096, 200), leaky, nn.Linear(200, 1))])
    data = torch.rand(IMAGES, 3, 28, 28) * 2 - 1
    if channels_last:
        gen, rec, disc = (net.to(memory_format=torch.channels_last) for net in (gen, rec, disc))
        data = data.contiguous(memory_format=torch.channels_last)
    players = [*gen.parameters(), *rec.parameters()], list(disc.parameters())
    optimizers = [torch.optim.Adam(owned, lr=2e-4, betas=(0.5, 0.999), fused=True) for owned in players]

    def losses(x: Any, z: Any, xi: Any) -> Any:
        x_g = gen(z)
        with torch.no_grad():
            z_g = rec(x) + xi
        generated = disc[1](torch.cat([z, disc[0](x_g)], 1))
        real = disc[1](torch.cat([z_g, disc[0](x)], 1))
        gen_loss = generated.mean() + 0.5 * (z - rec(x_g)).square().sum(1).mean()
        return gen_loss, softplus(-generated).mean() + softplus(real).mean()

    def step() -> None:
        x = data[torch.randint(IMAGES, (BATCH,))]
        both = losses(x, *torch.randn(2, BATCH, LATENTS))
        grads = [torch.autograd.grad(loss, p, retain_graph=True) for loss, p in zip(both, players, strict=True)]
        for owned, found, optimizer in zip(players, grads, optimizers, strict=True):
            for parameter, grad in zip(owned, found, strict=True):
                parameter.grad = grad
            optimizer.step()

    def run() -> None:
        for _ in range(steps):
            step()

    return run


def contenders() -> dict[str, tuple[int, Run]]:
    """Each with the steps that it takes at a time."""
    found: dict[str, tuple[int, Run | None]] = {"fused by lax.scan": (8, ours(8)), "1 step a call": (1, ours(1))}
    with laxs_convolutions():
        found |= {"lax's gradients, fused": (2, ours(2)), "lax's, 1 step a call": (1, ours(1))}
    found |= {"PyTorch": (4, pytorch(4, False)), "PyTorch, channels last": (4, pytorch(4, True))}
    return {name: (steps, run) for name, (steps, run) in found.items() if run}


def main() -> None:
    """Times every contender, round by round, so that a noisy moment hits them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    wall: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    present = contenders()
    for name in list(present) * (rounds + 1):
        steps, run = present[name]
        start, busy = time.perf_counter(), time.process_time()
        run()
        processor.setdefault(name, []).append((time.process_time() - busy) / steps * 1e3)
        wall.setdefault(name, []).append((time.perf_counter() - start) / steps * 1e3)
    medians = {name: statistics.median(measured[1:]) for name, measured in wall.items()}  # the first round warms up
    best = min([median for name, median in medians.items() if name.startswith("PyTorch")], default=float("nan"))
    for name, median in medians.items():
        print(
            f"{name:24} {median:7.1f} ms a step (least {min(wall[name][1:]):7.1f}, processor "
            f"{statistics.median(processor[name][1:]):7.1f}), {median / best:5.2f} of PyTorch's"
        )


if __name__ == "__main__":
    main()
