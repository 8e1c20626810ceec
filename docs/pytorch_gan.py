"""Trains a GAN of a few lines in PyTorch on the ring, and writes samples that `--mode score` can score.

python docs/pytorch_gan.py samples.npy
"""

import math
import sys

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

torch.manual_seed(0)
gen = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
disc = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))
gen_optimizer, disc_optimizer = (torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999)) for net in (gen, disc))


def real(n: int) -> torch.Tensor:
    """Draws from the eight Gaussians of `configs/ring.py`, float32 `[n, 2]`."""
    angle = torch.randint(8, (n,)) * (2 * math.pi / 8)
    return torch.stack([angle.cos(), angle.sin()], dim=-1) + 0.01 * torch.randn(n, 2)


for _ in range(12000):
    fake = gen(torch.randn(256, 16))
    disc_loss = (softplus(-disc(real(256))) + softplus(disc(fake.detach()))).mean()
    disc_optimizer.zero_grad()
    disc_loss.backward()
    disc_optimizer.step()
    gen_loss = softplus(-disc(fake)).mean()
    gen_optimizer.zero_grad()
    gen_loss.backward()
    gen_optimizer.step()

with torch.no_grad():
    np.save(sys.argv[1], gen(torch.randn(2500, 16)).numpy())
