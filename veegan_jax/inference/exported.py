"""An exported VEEGAN model: samples, latents and encodings, with nothing but this file, NumPy, JAX and flatbuffers.
Examples x are float32 `[n, …]`, images in [−1, 1]; latents z are `[n, K]`, and the generator's noise ε is `[n, E]`.
"""

import json
from pathlib import Path
from typing import Any

import jax.export
import numpy as np

AT_ONCE = 512  # the number of examples computed at once


class Model:
    """A model read from its folder, without running any code of it: `Model("folder").sample(1000, seed=0)`."""

    def __init__(self, folder: str | Path):
        """Reads the folder, and compiles nothing yet; `config` says what the model is."""
        self.config = json.loads((Path(folder) / "config.json").read_text("utf-8"))
        self._params = read_safetensors((Path(folder) / "model.safetensors").read_bytes())
        programs = {path.stem: bytearray(path.read_bytes()) for path in Path(folder).glob("*.stablehlo")}
        self._programs = {name: jax.jit(jax.export.deserialize(program).call) for name, program in programs.items()}

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws n examples, with rejection if the model has it; the first m of them are those of `sample(m, seed)`."""
        kept, start = list[np.ndarray](), 0
        while sum(map(len, kept)) < n:
            kept.append(self.decode(*self.latents(AT_ONCE, seed, start)))
            if "rejection" in self._programs:
                draws = np.full(AT_ONCE, seed, np.uint32), np.arange(start, start + AT_ONCE, dtype=np.int32)
                kept[-1] = kept[-1][self._run("rejection", kept[-1], *draws)]
            start += AT_ONCE
        return np.concatenate(kept)[:n]

    def latents(self, n: int, seed: int = 0, start: int = 0) -> tuple[np.ndarray, ...]:
        """Draws z and ε from the prior: those of examples `start` to `start + n − 1` of a seed."""
        return tuple(self._run("prior", np.full(n, seed, np.uint32), np.arange(start, start + n, dtype=np.int32)))

    def decode(self, z: np.ndarray, eps: np.ndarray) -> np.ndarray:
        """Returns G(z, ε)."""
        return np.asarray(self._run("generator", z, eps))

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Returns F(x); a model without a reconstructor has no such program."""
        return np.asarray(self._run("reconstructor", x))

    def _run(self, name: str, *arrays: np.ndarray) -> Any:
        pieces = [[array[i : i + AT_ONCE] for array in arrays] for i in range(0, len(arrays[0]), AT_ONCE)]
        results = [self._programs[name](self._params.get(name, {}), *piece) for piece in pieces]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *results)


def read_safetensors(content: bytes) -> dict[str, dict[str, np.ndarray]]:
    """Returns float32 arrays by the names of their programs, and by their own."""
    size, found = 8 + int.from_bytes(content[:8], "little"), dict[str, dict[str, np.ndarray]]()
    for name, entry in json.loads(content[8:size]).items():
        array = np.frombuffer(content, "<f4", int(np.prod(entry["shape"])), size + entry["data_offsets"][0])
        found.setdefault(name.partition(".")[0], {})[name.partition(".")[2]] = array.reshape(entry["shape"])
    return found
