"""Speed of the authors' grid recipe on this machine: python -m benchmarks.grid_step [--rounds 5]

Times, alternating in one process: one step a call, 50 steps a call, and PyTorch (where it is installed) on the same
nets, losses and optimizer. Prints the median of the rounds in ms a step, and each as a ratio of the first.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from configs import grid_paper
from veegan_jax.config.build import build
from veegan_jax.parallel.devices import replicate
from veegan_jax.train.compile import fused_step, initial_state, select_devices

STEPS = 200


def ours(steps_per_call: int) -> Callable[[], None]:
    """Runs `STEPS` steps of the config, `steps_per_call` in each call."""
    config = grid_paper.get_config()
    experiment, devices = build(config), select_devices(config)
    call = fused_step(experiment, devices, steps_per_call)
    arrays = replicate(jnp.asarray(experiment.source.train), devices)
    state: Any = replicate(initial_state(experiment), devices)

    def run() -> None:
        nonlocal state
        for _ in range(STEPS // steps_per_call):
            state, _ = call(state, arrays)
        jax.block_until_ready(state.params)

    return run


def pytorch() -> Callable[[], None] | None:
    """Runs the same step in eager PyTorch, all three gradients at one point; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    nn = torch.nn
    relu, softplus = nn.ReLU(), nn.functional.softplus
    gen = nn.Sequential(nn.Linear(255, 128), relu, nn.Linear(128, 128), relu, nn.Linear(128, 2))
    rec = nn.Sequential(nn.Linear(2, 128), relu, nn.Linear(128, 128), relu, nn.Linear(128, 254))
    disc = nn.Sequential(nn.Linear(256, 128), relu, nn.Linear(128, 1))
    players = {"gen": [*gen.parameters(), *rec.parameters()], "disc": list(disc.parameters())}
    optimizers = {name: torch.optim.Adam(owned, lr=1e-3, betas=(0.5, 0.999)) for name, owned in players.items()}
    means = torch.tensor([[a, b] for a in (-4.0, -2, 0, 2, 4) for b in (-4.0, -2, 0, 2, 4)])

    def step() -> None:
        x = means[torch.randint(25, (500,))] + 0.05 * torch.randn(500, 2)
        z, eps, xi = torch.randn(500, 254), torch.randn(500, 1), torch.randn(500, 254)
        x_g = gen(torch.cat([z, eps], 1))
        with torch.no_grad():
            z_g = rec(x) + xi
        generated, real = disc(torch.cat([z, x_g.detach()], 1)), disc(torch.cat([z_g, x], 1))
        disc_loss = softplus(-generated).mean() + softplus(real).mean()
        gen_loss = disc(torch.cat([z, x_g], 1)).mean() + 0.5 * (z - rec(x_g)).square().sum(1).mean()
        grads = {
            "disc": torch.autograd.grad(disc_loss, players["disc"]),
            "gen": torch.autograd.grad(gen_loss, players["gen"]),
        }
        for name, owned in players.items():
            for parameter, grad in zip(owned, grads[name], strict=True):
                parameter.grad = grad
            optimizers[name].step()

    def run() -> None:
        for _ in range(STEPS):
            step()

    return run


def main() -> None:
    """Times every contender, round by round, so that a noisy moment hits them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    contenders = {"1 step a call": ours(1), "50 steps a call": ours(50), "PyTorch eager": pytorch()}
    present = {name: run for name, run in contenders.items() if run}
    times: dict[str, list[float]] = {name: [] for name in present}
    for name in list(present) + list(present) * rounds:
        start = time.perf_counter()
        present[name]()
        times[name].append((time.perf_counter() - start) / STEPS * 1e3)
    first = statistics.median(times["1 step a call"][1:])
    for name, measured in times.items():
        median = statistics.median(measured[1:])  # the first round compiles
        print(f"{name:16}  {median:6.2f} ms a step  ({median / first:.2f} of the first)")


if __name__ == "__main__":
    main()
