"""The training step of VEEGAN in PyTorch, from the product's config: eager or compiled, contiguous or channels last."""

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import torch
from torch.nn.functional import relu, softplus

from benchmarks.peers.pytorch_nets import Tensor, Tensors, from_product, make_nets, mirrored, to_product
from veegan_jax.config.build import Experiment
from veegan_jax.train.state import TrainState
from veegan_jax.train.step import turns

# The losses of the discriminator and of the generator by family, as in `losses/adversarial.py`.
Loss = Callable[[Tensor, Tensor], Tensor]


def _logistic(generated: Tensor, real: Tensor) -> Tensor:
    return softplus(-generated).mean() + softplus(real).mean()


FAMILIES: Mapping[str, tuple[Loss, Loss]] = {
    "kl": (_logistic, lambda generated, real: generated.mean()),
    "nonsaturating": (_logistic, lambda generated, real: softplus(generated).mean()),
    "minimax": (_logistic, lambda generated, real: -softplus(-generated).mean()),
    "relativistic": (
        lambda generated, real: softplus(real - generated).mean(),
        lambda generated, real: softplus(generated - real).mean(),
    ),
    "hinge": (
        lambda generated, real: relu(1 - generated).mean() + relu(1 + real).mean(),
        lambda generated, real: generated.mean(),
    ),
}
# The generator's loss of these families has the logits of real examples in it.
PAIRED = {"relativistic"}

# Options of the product that these peers do not have, by field.
WITHOUT = {
    "objective": "veegan",
    "dtype": "float32",
    "spectral_norm": False,
    "unroll": 0,
    "num_seeds": 1,
    "veegan.learned_std": False,
    "veegan.real_pair_weight": 0.0,
    "penalty.anneal_steps": 0,
    "penalty.every": 1,
}


class PyTorch:
    """Training of one replica.

    Args:
        experiment: the config, data and method.
        state: the product's state, whose parameters are copied.
        compiled: whether losses and gradients are one program of `torch.compile`.
        channels_last: whether images and kernels are in that layout in memory.

    Raises:
        ValueError: if the config has an option that these peers do not have.
    """

    def __init__(self, experiment: Experiment, state: TrainState, *, compiled: bool, channels_last: bool):
        config, objective, source = experiment.config, experiment.objective, experiment.source
        for field, value in WITHOUT.items():
            if (found := functools.reduce(operator.getitem, field.split("."), config)) != value:
                raise ValueError(f"config.{field} is {found}; the peers in PyTorch have {value} only")
        self._config, self._players = config, objective.players
        self._memory = torch.channels_last if channels_last else torch.contiguous_format
        self._nets = make_nets(config, objective.inputs, source.shape, source.bounded)
        first = jax.tree.map(lambda leaf: np.asarray(leaf)[0], (state.params, state.ema))
        self.params, self.ema = ({n: self._tensors(n, tree) for n, tree in nets.items()} for nets in first)
        self._data = _Data(source, self._memory)
        self._turns = turns(config.update_order, config.disc_updates, config.gen_updates)
        self._updates = dict.fromkeys(self._players, 0)
        self._steps = 0
        self._optimizers = {player: self._adam(player) for player in self._players}
        self._compiled: dict[tuple[str, ...], Any] | None = {} if compiled else None

    def _tensors(self, net: str, tree: Any) -> dict[str, Tensor]:
        arrays = from_product(tree, self._nets[net].orders)
        return {
            name: torch.from_numpy(leaf).to(memory_format=self._memory if leaf.ndim == 4 else torch.contiguous_format)
            for name, leaf in arrays.items()
        }

    def _owned(self, player: str) -> list[Tensor]:
        return [leaf for net in self._players[player] for leaf in self.params[net].values()]

    def _adam(self, player: str) -> torch.optim.Adam:
        c, owned = self._config.optim[player], self._owned(player)
        for leaf in owned:
            leaf.requires_grad_()
        return torch.optim.Adam(owned, lr=c.learning_rate, betas=(c.b1, c.b2), eps=c.eps, fused=True)

    # The losses, and their gradients.

    def losses(
        self, players: Sequence[str], params: Mapping[str, Tensors], noise: Tensors, x: Any
    ) -> dict[str, Tensor]:
        """Computes what these players minimise; what none of them needs is not computed."""
        c, disc, gen = self._config.veegan, "disc" in players, "gen" in players
        z, net = noise["z"], {name: _bound(net.apply, params[name]) for name, net in self._nets.items()}
        with torch.set_grad_enabled(gen):
            x_g = net["gen"](z, noise["eps"])
        paired = disc or c.adversarial_loss in PAIRED
        with torch.no_grad():
            z_g: Any = net["rec"](x) + c.reconstructor_std * noise["xi"] if paired else None
        loss = dict.fromkeys(players, 0.0)
        disc_loss, gen_loss = FAMILIES[c.adversarial_loss]
        r1, r2 = (self._config.penalty[kind] if disc else 0.0 for kind in ("r1", "r2"))
        for name, weight in (("disc", 1.0), ("disc_x", c.x_critic)):
            if name not in net:
                continue
            seen = slice(0 if name == "disc" else 1, None)
            generated, slope_g = _logits(net[name], (z, x_g)[seen], r2 > 0)
            real: Any
            with torch.set_grad_enabled(disc):
                real, slope_r = _logits(net[name], (z_g, x)[seen], r1 > 0) if paired else (None, 0.0)
            if disc:
                loss["disc"] += disc_loss(generated, real) + 0.5 * (r2 * slope_g + r1 * slope_r)
            if gen:
                loss["gen"] += weight * gen_loss(generated, real.detach() if paired else None)
        if gen:
            d = 0.5 * (z - net["rec"](x_g)).square().sum(1).mean() + 0.5 * z.shape[1] * math.log(2 * math.pi)
            mean = c.reconstruction_reduction == "mean"
            loss["gen"] += c.reconstruction_weight / (z.shape[1] if mean else 1) * d
        return loss

    def gradients(self, players: Sequence[str], leaves: Sequence[Tensor], noise: Tensors, x: Any) -> Any:
        """Returns the losses, and the gradient of each player's loss to its own parameters, all at one point."""
        names = [(net, name) for net, params in self.params.items() for name in params]
        params: dict[str, dict[str, Tensor]] = {net: {} for net in self.params}
        for (net, name), leaf in zip(names, leaves, strict=True):
            params[net][name] = leaf
        loss = self.losses(players, params, noise, x)
        grads = {}
        for player in players:
            owned = [leaf for net in self._players[player] for leaf in params[net].values()]
            grads[player] = torch.autograd.grad(loss[player], owned, retain_graph=player != players[-1])
        return {player: value.detach() for player, value in loss.items()}, grads

    def _take_gradients(self, players: tuple[str, ...], noise: Tensors, x: Any) -> Any:
        leaves = [leaf for params in self.params.values() for leaf in params.values()]
        if self._compiled is None:
            return self.gradients(players, leaves, noise, x)
        if players not in self._compiled:
            self._compiled[players] = _compile(lambda *given: self.gradients(players, *given), leaves, noise, x)
        return self._compiled[players](leaves, noise, x)

    # The step.

    def draw(self, players: Sequence[str]) -> tuple[dict[str, Tensor], Any]:
        """Draws the noise and the data that an update of these players needs."""
        c = self._config
        size, paired = c.batch_size, "disc" in players or c.veegan.adversarial_loss in PAIRED
        noise = {"z": torch.randn(size, c.latent_dim), "eps": torch.randn(size, c.noise_dim)}
        if paired:
            noise["xi"] = torch.randn(size, c.latent_dim)
        return noise, self._data.sample(size) if paired else None

    def step(self, draws: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]] = ()) -> dict[str, Tensor]:
        """Takes one step, and returns the losses.

        Args:
            draws: the noise and the data of each turn, as the product draws them; its own draws where there are none.
        """
        loss = {}
        for turn, players in enumerate(self._turns):
            noise, x = self._convert(*draws[turn]) if draws else self.draw(players)
            found, grads = self._take_gradients(players, noise, x)
            loss.update(found)
            for player in players:
                self._update(player, grads[player])
        self._average()
        self._steps += 1
        return loss

    def _convert(self, noise: Mapping[str, np.ndarray], x: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        image = torch.from_numpy(mirrored(x).copy())
        image = image.contiguous(memory_format=self._memory) if image.ndim == 4 else image
        return {name: torch.from_numpy(np.array(draw)) for name, draw in noise.items()}, image

    def _update(self, player: str, grads: Sequence[Tensor]) -> None:
        c, optimizer = self._config.optim[player], self._optimizers[player]
        progress = self._updates[player] / (self._config.num_steps * self._config[f"{player}_updates"])
        left = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
        optimizer.param_groups[0]["lr"] = c.learning_rate * left[c.schedule]
        for leaf, grad in zip(self._owned(player), grads, strict=True):
            # The fused optimizer reads a gradient as if it lay in memory as the parameter does.
            leaf.grad = grad if grad.stride() == leaf.stride() else torch.empty_like(leaf).copy_(grad)
        optimizer.step()
        self._updates[player] += 1

    @torch.no_grad()
    def _average(self) -> None:
        if not self._config.ema_half_life:
            return
        decay = min(
            0.5 ** (self._config.batch_size / self._config.ema_half_life), (1 + self._steps) / (10 + self._steps)
        )
        pairs = [(old, self.params[net][name]) for net, params in self.ema.items() for name, old in params.items()]
        torch._foreach_lerp_([old for old, _ in pairs], [new for _, new in pairs], 1 - decay)

    def run(self, num_steps: int) -> None:
        """Takes steps with draws of its own."""
        for _ in range(num_steps):
            self.step()

    def in_products_form(self) -> tuple[Any, Any]:
        """Returns parameters and moving averages, `{net: parameters}`, as the product has them."""

        def convert(nets: Mapping[str, Tensors]) -> Any:
            arrays = {n: {k: leaf.detach().numpy() for k, leaf in params.items()} for n, params in nets.items()}
            return {n: to_product(params, self._nets[n].orders) for n, params in arrays.items()}

        return convert(self.params), convert(self.ema)


def _bound(apply: Callable[..., Tensor], params: Tensors) -> Callable[..., Tensor]:
    return lambda *inputs: apply(params, *inputs)


def _logits(net: Callable[..., Tensor], inputs: Sequence[Tensor], needed: bool) -> tuple[Tensor, Any]:
    """Computes D's logits, and the mean of ‖∇D‖² over examples, or 0 where that slope is not needed."""
    if not needed:
        return net(*inputs), 0.0
    inputs = [x if x.requires_grad else x.detach().requires_grad_() for x in inputs]
    logits = net(*inputs)
    slopes = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return logits, sum(slope.square().sum() for slope in slopes) / logits.shape[0]


def _compile(function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """Returns a function of tensors, gradients of gradients included, as one compiled program."""
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = torch.compile(make_fx(function)(*args))

    def call(*args: Any) -> Any:
        with torch.no_grad():
            return graph(*args)

    return call


class _Data:
    """Draws examples as a source does: from a mixture, from images, or as stacks of digits."""

    def __init__(self, source: Any, memory: Any):
        self._shape, self._memory = source.shape, memory
        self._mixture = source.references.get("mixture")
        train = np.asarray(source.train)
        self._stacked, self._white = train.ndim == 3, 16 if train.max() <= 16 else 255
        self._train = torch.from_numpy(np.array(train.transpose(0, 3, 1, 2) if train.ndim == 4 else train, order="C"))

    def sample(self, size: int) -> Tensor:
        """Draws examples, float32, with images as the nets here see them."""
        if self._mixture:
            noise = self._mixture.std * torch.randn(size, self._mixture.noisy_dims)
            means = self._train[torch.randint(len(self._train), (size,))]
            return means + torch.nn.functional.pad(noise, (0, means.shape[1] - noise.shape[1]))
        chosen = (size, self._shape[-1]) if self._stacked else (size,)
        images = self._train[torch.randint(len(self._train), chosen)].contiguous(memory_format=self._memory)
        return images.float() / (self._white / 2) - 1
