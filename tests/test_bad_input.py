"""Bad input of every kind: one line says what is wrong, and nothing is written or lost.

A row of a table is a command in a folder that its `make` has filled. To test another input, add a row.
"""

import atexit
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests import data_files
from tests.fork_server import ForkServer
from tests.helpers import ROOT, tiny
from tests.test_tfds import write_digits
from veegan_jax.config.build import build
from veegan_jax.config.convert import effective
from veegan_jax.data.readers.idx import FILES, MNIST
from veegan_jax.storage.checkpoint import Checkpoints
from veegan_jax.storage.folder import LOCK
from veegan_jax.train.compile import initial_state


class Bad(NamedTuple):
    """A command that has to be refused.

    Attributes:
        says: what the error has to contain: the key or file, the value, and what would be right.
        arguments: the command's arguments, besides `--config configs/ring.py`.
        make: fills the folder in which the command runs.
        config: whether `--config configs/ring.py` is given.
        environment: variables of the environment that are changed.
        program: the module that is run.
        own_process: whether the command needs a new process, since it is about what is read when a process starts.
        lines: the number of lines on stderr; more than one where the error has to list something.
    """

    says: str
    arguments: Sequence[str] = ()
    make: Callable[[Path], object] = lambda here: None
    config: bool = True
    environment: Mapping[str, str] = {}
    program: str = "veegan_jax.main"
    own_process: bool = False
    lines: int = 1


def field(value: str, says: str) -> Bad:
    """A value of a field of the config, given as `--config.FIELD=VALUE`."""
    return Bad(says, (f"--config.{value}",))


def config(name: str, content: str | bytes, says: str, *more: str) -> Bad:
    """A config file of this content."""

    def make(here: Path) -> None:
        (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return Bad(says, (f"--config={name}", *more), make, config=False)


def python(body: str, says: str) -> Bad:
    """A config file whose get_config() has this body."""
    return config("mine.py", f"from veegan_jax.config.fields import base_config\n\ndef get_config():\n{body}", says)


def data(
    source: str, path: str, says: str, make: Callable[[Path], object] = lambda here: None, **variables: str
) -> Bad:
    """Data files at a path of the folder."""
    arguments = (f"--config.data={source}", *([f"--config.{source}.path={path}"] if path else []))
    return Bad(says, arguments, make, environment=variables)


def run(says: str, damage: Callable[[Path], object], *arguments: str, lines: int = 1) -> Bad:
    """The folder of a run with checkpoints of steps 4 and 8, after something has damaged it."""

    def make(here: Path) -> None:
        shutil.copytree(_run(), here / "run")
        damage(here / "run")

    return Bad(says, ("--workdir=run", *(arguments or ("--mode=evaluate",))), make, config=False, lines=lines)


# Data that are wrong or damaged.


def array(name: str, **arrays: object) -> Callable[[Path], object]:
    """One array in a file x.npy, or several in x.npz."""
    if name == "x.npy":
        return lambda here: np.save(here / name, arrays["x"])
    return lambda here: np.savez(here / name, **arrays)


def labelled(**changed: object) -> Callable[[Path], object]:
    """A file like CIFAR-10's, some of whose arrays are replaced, or left out where None replaces them."""
    x, y = data_files.photographs(6)
    arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y, **changed}
    return array("x.npz", **{name: value for name, value in arrays.items() if value is not None})


def digits(name: str, change: Callable[[bytes], bytes], folder: str = "x") -> Callable[[Path], object]:
    """A set of digits with one file changed."""

    def make(here: Path) -> None:
        file = data_files.write_idx(here / folder) / name
        file.write_bytes(change(file.read_bytes()))

    return make


def images(name: str, change: Callable[[Path], object]) -> Callable[[Path], object]:
    """A folder of images with one file added, or changed."""
    return lambda here: change(data_files.write_images(here / "x", 3) / name)


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def photograph(file: Path) -> None:
    Image.fromarray(data_files.photographs(1)[0][0]).resize((200, 200)).save(file)
    halve(file)


def tfds(damage: Callable[[Path], object]) -> Callable[[Path], object]:
    """A prepared set 'mine', damaged."""
    return lambda here: damage(shutil.copytree(_set(), here / "sets") / "mine" / "1.0.0")


def shard(folder: Path) -> Path:
    return next(folder.glob("*train*array_record*"))


def other_class(folder: Path) -> None:
    (folder.parent.parent.parent / "evil.py").write_text("open('it_ran', 'w')")
    (folder / "features.json").write_text('{"pythonClassName": "evil.Feature"}')


# Runs that are damaged.


def every(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Changes all files that match a pattern."""

    def damage(folder: Path) -> None:
        found = [file for file in folder.rglob(pattern) if file.is_file()]
        assert found
        for file in found:
            change(file)

    return damage


def stored(**changed: object) -> Callable[[Path], object]:
    """Changes fields of the run's config.json."""

    def damage(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))

    return damage


RING = str(ROOT / "configs" / "ring.py")
LABELS = data_files.pack_idx(np.arange(60, dtype=np.uint8))
TABLES = {
    "flags": {
        "unknown": Bad("--wrkdir is no flag; did you mean 'workdir'?", ("--wrkdir=x",)),
        "stray argument": Bad("'ring' is no flag; flags look like --config=ring", ("ring",)),
        "mode": Bad("--mode is 'fly'; valid: encode, evaluate, export", ("--mode=fly",)),
        "number": Bad("--num is 'x'; it must be a positive integer", ("--num=x",)),
        "number of none": Bad("--num is '0'; it must be a positive integer", ("--num=0",)),
        "negative seed": Bad("--sample_seed is '-1'; it must be an integer in", ("--sample_seed=-1",)),
        "huge seed": Bad("--sample_seed is '4294967296'; it must be an integer in", ("--sample_seed=4294967296",)),
        "rejection of none": Bad(
            "--rejection is '0.5'; it must be a number in the range [1.0, 1000.0]",
            ("--mode=sample", "--rejection=0.5"),
        ),
        "rejection that is no number": Bad(
            "--rejection is nan; it must be a number in the range [1.0, 1000.0]", ("--mode=sample", "--rejection=nan")
        ),
        "rejection of another mode": Bad(
            "--rejection is for --mode sample, evaluate or export, and --mode is reconstruct",
            ("--mode=reconstruct", "--rejection=1.25"),
        ),
        "inputs of another mode": Bad("--inputs is for --mode reconstruct, encode", ("--inputs=x",)),
        "format that is none": Bad(
            "--format is 'png,jpg'; did you mean 'png'? valid: npy, npz, png", ("--mode=sample", "--format=png,jpg")
        ),
        "format of nothing": Bad("--format is ''", ("--mode=sample", "--format=")),
        "one frame": Bad("--frames is '1'; it must be", ("--mode=interpolate", "--frames=1")),
        "replica below 0": Bad("--replica is '-1'; it must be", ("--mode=sample", "--replica=-1")),
        "switch": Bad("--debug is 'perhaps'; it must be true or false", ("--debug=perhaps",)),
        "no value": Bad("Missing value for flag --workdir", ("--workdir",)),
        "nothing given": Bad("neither --config nor --workdir is given; try --config", config=False),
        "field without config": Bad(
            "--config.seed changes a field of --config, which is not given", ("--config.seed=3",), config=False
        ),
        "field before config": Bad(
            "Found --config.seed=3 in argv before a value for --config",
            ("--config.seed=3", f"--config={RING}"),
            config=False,
        ),
        "half a cluster": Bad("needs --num_processes (how many), --process_id (which, from 0)", ("--coordinator=a:1",)),
        "coordinator": Bad(
            "--coordinator is 'here'; it must be HOST:PORT of process 0",
            ("--coordinator=here", "--num_processes=2", "--process_id=0"),
        ),
        "process": Bad(
            "--process_id is 2; of 2 processes it must be 0 to 1",
            ("--coordinator=a:1", "--num_processes=2", "--process_id=2"),
        ),
        "value of no flag": Bad("'x' is no flag; flags look like", ("--config.seed=3", "x")),
        "heartbeat": Bad("--heartbeat_seconds is '0'; it must be a positive", ("--heartbeat_seconds=0",)),
        "explanation of no field": Bad("config.batchsize is no field; did you mean", ("--help_config=batchsize",)),
        "explanation of two": Bad("'seed' is no flag", ("--help_config", "data", "seed")),
        "no process": Bad("--num_processes is 'two'; it must be an integer", ("--num_processes=two",)),
        "several to evaluate": Bad(
            "--mode evaluate is the work of one process; several only train",
            ("--coordinator=a:1", "--num_processes=2", "--process_id=0", "--mode=evaluate"),
        ),
        "table": Bad("--table is '3'; it must be an integer in the range [1, 2]", ("--table=3",)),
        "budget that is no number": Bad("--budget is 'half'; it must be a", ("--budget=half",)),
        "budget of nothing": Bad(
            "--budget is 0; it must be more than 0, as 0.1 for a tenth", ("--mode=reproduce", "--budget=0")
        ),
        "table in another mode": Bad("--table is for --mode reproduce, and --mode is train", ("--table=1",)),
        "seeds together in another mode": Bad(
            "--together is for --mode reproduce, and --mode is train", ("--together",)
        ),
        "cells in another mode": Bad("--cells is for --mode reproduce, and --mode is train", ("--cells=x",)),
        "nothing to reproduce": Bad(
            "--mode reproduce needs either --table N or --config CONFIG", ("--mode=reproduce",), config=False
        ),
        "two things to reproduce": Bad(
            "--mode reproduce needs either --table N or --config CONFIG", ("--mode=reproduce", "--table=1")
        ),
        "cells that are no path": Bad("--cells is ''; it must be a path", ("--mode=reproduce", "--cells=")),
        "cells that cannot be written": Bad(
            "ring.py/ring could not be written",
            ("--mode=reproduce", f"--cells={RING}"),
        ),
        "no cluster": Bad("--distributed: JAX finds no cluster here", ("--distributed",), own_process=True),
        "row": Bad("--row is 'gan'; this config compares nothing", ("--row=gan",)),
        "row of a comparison": Bad(
            "--row is 'gna'; did you mean 'gan'? valid: aae,",
            (f"--config={ROOT / 'configs' / 'compare.py'}:ring", "--row=gna"),
            config=False,
        ),
    },
    "fields": {
        "unknown": field("batchsize=3", "config.batchsize is no field; did you mean 'batch_size'?"),
        "unknown option": field("veegan.recons=3", "config.veegan.recons is no field; did you mean"),
        "unknown section": field("veegn.x_critic=3", "config.veegn.x_critic is no field; did you mean 'veegan'?"),
        "below a field": field("batch_size.x=3", "config.batch_size.x is no field; did you mean 'batch_size'?"),
        "integer": field("batch_size=many", "config.batch_size is 'many'; it must be an integer, as 128"),
        "fraction": field("batch_size=1.5", "config.batch_size is '1.5'; it must be an integer, as 128"),
        "empty": field("batch_size=", "config.batch_size is ''; it must be an integer"),
        "too large": field("num_steps=3000000000", "config.num_steps is 3000000000; it must be at most 2147483647"),
        "number": field("ema_half_life=long", "config.ema_half_life is 'long'; it must be a finite number, as 0.0"),
        "not a number": field("ema_half_life=nan", "config.ema_half_life is nan; it must be a finite number"),
        "infinite": field("ring.std=inf", "config.ring.std is inf; it must be a finite number, as 0.01"),
        "switch": field("spectral_norm=maybe", "config.spectral_norm is 'maybe'; it must be true or false"),
        "tuple": field("mlp.gen_hidden=(3, a", "config.mlp.gen_hidden is '(3, a'; it must be a tuple of integers"),
        "tuple of text": field("mlp.gen_hidden=wide", "config.mlp.gen_hidden is ('wide',); it must be a tuple of"),
        "tuple with 0": field("mlp.gen_hidden=(8, 0)", "config.mlp.gen_hidden is (8, 0); it must be a tuple of posi"),
        "section": field("veegan=3", "config.veegan is '3'; it is a section, of adversarial_loss,"),
        "part of a section": field("veegan={'x_critic': 1.0}", "config.veegan.adversarial_loss is missing; a config"),
        "negative seed": field("seed=-1", "config.seed is -1; it must be at least 0"),
        "huge seed": field(
            "seed=4294967296", "config.seed is 4294967296 with config.num_seeds 1; seeds must lie in 0 to"
        ),
        "objective": field("objective=vegan", "config.objective is 'vegan'; did you mean 'veegan'? valid: aae, ali,"),
        "data": field("data=rings", "config.data is 'rings'; did you mean 'ring'? valid: celeba, cifar10, grid"),
        "model": field("model=cnn", "config.model is 'cnn'; valid: dcgan, mlp, resnet"),
        "model of images": field("model=dcgan", "config.dcgan.smallest is 4; the data must be images [H, W, C]"),
        "kernels": Bad(
            "config.dcgan.kernel_size is 0; it must be 1 or more",
            ("--config.data=stacked_digits", "--config.model=dcgan", "--config.dcgan.kernel_size=0"),
        ),
        "metric": field("best_metric=fid", "config.best_metric is 'fid'; valid: bin_kl, clipped_coverage"),
        "negative shards": field("logical_shards=-1", "config.logical_shards is -1; it must be at least 0"),
        "shards and devices": field(
            "logical_shards=6", "config.logical_shards is 6, over 4 devices; it must divide by"
        ),
        "shards of a batch": field(
            "logical_shards=512", "config.batch_size is 256; it must divide by config.logical_sh"
        ),
        "determinism": field("deterministic=perhaps", "config.deterministic is 'perhaps'; it must be true or false"),
        "packing": field("packing=7", "config.batch_size is 256; it must divide by config.packing, 7"),
        "comparison": field("compare={'a': 3}", "config.compare.a is 3; it must be fields, as {'objective': 'gan'}"),
        "row of a comparison": field(
            "compare={'a': {'sed': 3}}", "config.compare.a.sed is no field of this version; did"
        ),
        "row out of the folder": field(
            "compare={'/tmp/a': {'seed': 3}}", "config.compare has a row '/tmp/a'; a row is"
        ),
    },
    "config files": {
        "missing": Bad(
            "--config rong.py: there is no such file; the project's own configs have names, as ring",
            ("--config=rong.py",),
            config=False,
        ),
        "missing file of our own": Bad(
            "--config there/compare.py: there is no such file; the project's own configs have names, as compare:grid",
            ("--config=there/compare.py:grid",),
            config=False,
        ),
        "missing JSON": Bad(
            "--config rong.json: it cannot be read: No such file", ("--config=rong.json",), config=False
        ),
        "neither": config("mine.txt", "x", "--config mine.txt: it must be a file .py, as configs/ring.py, or .json"),
        "unknown name": Bad(
            "--config rung: it is neither a file nor the name of a config; did you mean 'ring'?",
            ("--config=rung",),
            config=False,
        ),
        "unknown variant of a name": Bad(
            "DATA is 'rings'; did you mean 'ring'?", ("--config=compare:rings",), config=False
        ),
        "no name": Bad("--config '': it must be a file .py", ("--config=",), config=False),
        "a folder": Bad("it must be a file .py", (f"--config={ROOT / 'configs'}",), config=False),
        "unknown field": python(
            "    c = base_config()\n    c.batch_sise = 3\n    return c\n",
            "mine.py, line 5: c.batch_sise = 3: AttributeError",
        ),
        "value of another type": python(
            "    c = base_config()\n    c.batch_size = 'a'\n    return c\n",
            "mine.py, line 5: c.batch_size = 'a': TypeError",
        ),
        "no value": python(
            "    c = base_config()\n    c.batch_size = None\n    return c\n",
            "config.batch_size is None; it must be an integer, as 128",
        ),
        "raises": python("    return 1 / 0\n", "mine.py, line 4: return 1 / 0: ZeroDivisionError: division by zero"),
        "returns another thing": python(
            "    return 3\n", "--config mine.py: get_config() returned int, not a ConfigDict"
        ),
        "returns nothing": python("    base_config()\n", "--config mine.py: get_config() returned NoneType, not a"),
        "syntax": python("    return (\n", "mine.py, line 4: return (: SyntaxError: '(' was never closed"),
        "import": python("    import no_such_module\n", "mine.py, line 4: import no_such_module: ModuleNotFoundError"),
        "no get_config": config(
            "mine.py", "x = 3\n", "--config mine.py: module 'config_config' has no attribute 'get_config'"
        ),
        "no variants": Bad("ring.py:big: get_config() takes 0 positional", (f"--config={RING}:big",), config=False),
        "unknown variant": Bad(
            "DATA is 'rings'; did you mean 'ring'?",
            (f"--config={ROOT / 'configs' / 'compare.py'}:rings",),
            config=False,
        ),
        "named like a module of ours": config(
            "config.py", "def get_config():\n    return 1 / 0\n", "config.py, line 2: return 1 / 0: Zero"
        ),
        "JSON: no JSON": config("a.json", "{", "--config a.json: it is not JSON (Expecting property name"),
        "JSON: no text": config(
            "a.json", b"\xff\xfe\x00", "--config a.json: it is not JSON ('utf-8' codec can't decode"
        ),
        "JSON: too deep": config("a.json", "[" * 10**6, "--config a.json: it is not JSON (maximum recursion"),
        "JSON: no object": config("a.json", "[3]", "--config a.json: it holds [3]; it must be an object of fields"),
        "JSON: a key twice": config(
            "a.json", '{"seed": 1, "seed": 2}', "--config a.json: it is not JSON ('seed' is there twice)"
        ),
        "JSON: NaN": config("a.json", '{"ema_half_life": NaN}', "--config a.json: it is not JSON (NaN is no number)"),
        "JSON: infinite": config(
            "a.json", '{"ema_half_life": 1e999}', "a.json: config.ema_half_life is inf; it must be a finite"
        ),
        "JSON: unknown field": config(
            "a.json",
            '{"optim": {"gen": {"lr": 1}}}',
            "--config a.json: config.optim.gen.lr is no field of this version; did you",
        ),
        "JSON: type": config(
            "a.json", '{"batch_size": "3"}', "--config a.json: config.batch_size is '3'; it must be an integer"
        ),
        "JSON: null": config(
            "a.json", '{"objective": null}', "--config a.json: config.objective is None; it must be a text, as 'veegan'"
        ),
        "JSON: true for a number": config(
            "a.json", '{"batch_size": true}', "config.batch_size is True; it must be an integer"
        ),
        "JSON: a section for a field": config(
            "a.json", '{"batch_size": {}}', "config.batch_size is {}; it must be an integer"
        ),
        "JSON: a field for a section": config("a.json", '{"veegan": []}', "config.veegan is []; it is a section, of"),
        "JSON: variant": config(
            "a.json", "{}", "--config a.json:big: a JSON config has no variants", "--config=a.json:big"
        ),
        "JSON: override": config("a.json", "{}", "config.batchsize is no field; did you mean", "--config.batchsize=3"),
        "JSON: row out of the folder": config(
            "a.json", '{"compare": {"../a": {"seed": 1}}}', "--config a.json: config.compare"
        ),
    },
    "data": {
        "MNIST is nowhere": data("mnist", "", "config.mnist.path is '', VEEGAN_DATA_DIR is not set and TensorFlow"),
        "MNIST is not there": data(
            "mnist",
            "",
            "config.mnist.path is '', no folder none/mnist and TensorFlow Datasets has no prepared mnist;",
            VEEGAN_DATA_DIR="none",
        ),
        "no folder": data(
            "mnist", "x", "config.mnist.path is x; train-images-idx3-ubyte.gz cannot be read there: No such file"
        ),
        "a file for a folder": data(
            "mnist",
            "x",
            "config.mnist.path is x; train-images-idx3-ubyte.gz cannot be read there: Not a dir",
            lambda here: (here / "x").touch(),
        ),
        "truncated IDX": data(
            "mnist",
            "x",
            "config.mnist.path is x; its train-images-idx3-ubyte.gz is truncated or corrupt",
            digits(FILES[0], lambda b: b[: len(b) // 2]),
        ),
        "IDX that is no gzip": data(
            "mnist",
            "x",
            "config.mnist.path is x; its train-labels-idx1-ubyte.gz is truncated or corrupt: Not a gzipped",
            digits(FILES[1], lambda b: b"labels"),
        ),
        "IDX of another kind": data(
            "mnist",
            "x",
            "its train-images-idx3-ubyte.gz begins with 0x00000801; an IDX file",
            digits(FILES[0], lambda b: LABELS),
        ),
        "IDX of no pixels": data(
            "mnist",
            "x",
            "its train-images-idx3-ubyte.gz holds 0 bytes for a shape of [60, 28, 0]",
            digits(FILES[0], lambda b: data_files.pack_idx(np.zeros((60, 28, 0), np.uint8))),
        ),
        "labels of another number": data(
            "mnist",
            "x",
            "config.mnist.path is x; its t10k files have 30 images and 60 labels",
            digits(FILES[3], lambda b: LABELS),
        ),
        "labels that are no digits": data(
            "stacked_mnist",
            "x",
            "config.stacked_mnist.path is 'x'; its labels go to 59, and",
            digits(FILES[1], lambda b: LABELS),
        ),
        "MNIST is another's": data(
            "mnist",
            "",
            "config.mnist.path is data/mnist; its train-images-idx3-ubyte.gz is truncated: ",
            digits(FILES[0], lambda b: b, "data/mnist"),
            VEEGAN_DATA_DIR="data",
        ),
        "wrong checksum": data(
            "mnist",
            "",
            "its train-images-idx3-ubyte.gz is corrupt: its MD5 is ",
            digits(FILES[0], lambda b: bytes(MNIST[FILES[0]][0]), "data/mnist"),
            VEEGAN_DATA_DIR="data",
        ),
        "arrays without x_train": data(
            "images",
            "x.npz",
            "config.images.path is x.npz; it holds a, b, and must hold one array, or x_train",
            array("x.npz", a=[1], b=[2]),
        ),
        "arrays without labels": data(
            "cifar10",
            "x.npz",
            "config.cifar10.path is x.npz; it has no y_test, but x_train, y_train, x_test",
            labelled(y_test=None),
        ),
        "too few labels": data(
            "cifar10",
            "x.npz",
            "config.cifar10.path is x.npz; y_train is int64 [5], and must be integers [6]",
            labelled(y_train=np.arange(5)),
        ),
        "labels that are no integers": data(
            "cifar10",
            "x.npz",
            "config.cifar10.path is x.npz; y_test is float64 [6], and must be integers [6]",
            labelled(y_test=np.zeros(6)),
        ),
        "negative labels": data(
            "cifar10",
            "x.npz",
            "config.cifar10.path is x.npz; y_test has -1 to -1, and must be classes",
            labelled(y_test=np.full(6, -1)),
        ),
        "two files for one": data(
            "cifar10",
            "x",
            "config.cifar10.path is x; it must be a .npz file, or a folder with one",
            lambda here: [data_files.write_npz(here / "x" / f"{i}.npz") for i in range(2)],
        ),
        "pixels of other sizes": data(
            "cifar10",
            "x.npz",
            "config.cifar10.path is x.npz; x_train has shape [6, 32, 32, 3], but x_test [6, 8, 8, 3]",
            labelled(x_test=np.zeros((6, 8, 8, 3), np.uint8)),
        ),
        "float pixels": data(
            "images",
            "x.npy",
            "config.images.path is x.npy; pixels of x_train are float32, and must be uint8",
            array("x.npy", x=np.zeros((4, 8, 8, 3), np.float32)),
        ),
        "NaN pixels": data(
            "images",
            "x.npy",
            "pixels of x_train are float64, some of them NaN, and must be uint8",
            array("x.npy", x=np.full((4, 8, 8, 3), np.nan)),
        ),
        "wide integers": data(
            "images",
            "x.npy",
            "config.images.path is x.npy; pixels of x_train are int16, and must be",
            array("x.npy", x=np.zeros((4, 8, 8, 3), np.int16)),
        ),
        "zero images": data(
            "images",
            "x.npy",
            "config.images.path is x.npy; x_train has shape [0, 8, 8, 3]; it must be",
            array("x.npy", x=np.zeros((0, 8, 8, 3), np.uint8)),
        ),
        "one image": data(
            "images",
            "x.npy",
            "config.images.path is x.npy; it has one image, and at least two",
            array("x.npy", x=np.zeros((1, 8, 8, 3), np.uint8)),
        ),
        "images in a row": data(
            "images",
            "x.npy",
            "config.images.path is x.npy; x_train has shape [4, 64]; it must be [N,",
            array("x.npy", x=np.zeros((4, 64), np.uint8)),
        ),
        "objects": data(
            "images",
            "x.npy",
            "config.images.path is x.npy; it cannot be read as an array: Array can't be memory-mapped: Python objects",
            array("x.npy", x=np.array([np.zeros((4, 4)), None], object)),
        ),
        "objects in an archive": data(
            "images",
            "x.npz",
            "config.images.path is x.npz; it cannot be read as an array: Object arrays cannot be",
            array("x.npz", x=np.array([np.zeros((4, 4)), None], object)),
        ),
        "a truncated array": data(
            "images",
            "x.npy",
            "config.images.path is x.npy; it cannot be read as an array: ",
            lambda here: (np.save(here / "x.npy", np.zeros((4, 64, 64, 3), np.uint8)), halve(here / "x.npy")),
        ),
        "an archive that is none": data(
            "images",
            "x.npz",
            "config.images.path is x.npz; it cannot be read as an array: ",
            lambda here: (here / "x.npz").write_bytes(b"PK\3\4"),
        ),
        "an archive of other things": data(
            "images",
            "x",
            "config.images.path is x; it must be a folder of images, a .npy",
            lambda here: (here / "x").write_bytes(b"PK\3\4"),
        ),
        "no such path": data(
            "images",
            "x",
            "config.images.path is 'x'; it must be a folder of images, a .npy or .npz file, or 'tfds:NAME'",
        ),
        "empty folder": data(
            "images",
            "x",
            "config.images.path is x; there are no images in it: none of its files ends",
            lambda here: (here / "x").mkdir(),
        ),
        "corrupt PNG": data(
            "images", "x", "config.images.path is x; its 000001.png is truncated or corrupt", images("000001.png", flip)
        ),
        "truncated JPEG": data(
            "images",
            "x",
            "config.images.path is x; its a.jpg is truncated or corrupt, or no image",
            images("a.jpg", photograph),
        ),
        "no image": data(
            "images",
            "x",
            "config.images.path is x; its a.gif is truncated or corrupt, or no image",
            images("a.gif", lambda f: f.write_text("GIF")),
        ),
        "enormous image": data(
            "images",
            "x",
            "config.images.path is x; its a.png is too large an image",
            images("a.png", lambda f: Image.new("1", (20_000, 20_000)).save(f)),
        ),
        "a program for an image": data(
            "images",
            "x",
            "config.images.path is x; its a.png is truncated or corrupt, or no image",
            images("a.png", lambda f: f.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")),
        ),
        "too few faces": data(
            "celeba",
            "x",
            "config.celeba.path is x; it has 1 images, too few to hold any out",
            lambda here: data_files.write_images(here / "x", 1),
        ),
        "unknown set": data(
            "images",
            "tfds:nothing",
            "config.images.path is tfds:nothing; TensorFlow Datasets cannot open that set: Dataset nothing not found",
        ),
        "set that is not prepared": data(
            "mnist", "tfds:cifar10", "config.mnist.path is tfds:cifar10; that set is not prepared in "
        ),
        "set of a foreign library": data(
            "mnist",
            "tfds:huggingface:mnist",
            "config.mnist.path is tfds:huggingface:mnist; TensorFlow Datasets cannot open that set: a name is like",
        ),
        "damaged set": data(
            "mnist",
            "tfds:mine",
            "config.mnist.path is tfds:mine; its split 'train' is damaged: ",
            tfds(lambda folder: flip(shard(folder))),
        ),
        "set with a part missing": data(
            "mnist",
            "tfds:mine",
            "config.mnist.path is tfds:mine; its split 'train' is damaged: ",
            tfds(lambda folder: shard(folder).unlink()),
        ),
        "set of damaged metadata": data(
            "mnist",
            "tfds:mine",
            "config.mnist.path is tfds:mine; TensorFlow Datasets cannot open that set: Failed to load JSON",
            tfds(lambda folder: halve(folder / "dataset_info.json")),
        ),
        "set that would run code": data(
            "mnist",
            "tfds:mine",
            "features.json asks for 'evil.Feature', which is not of TensorFlow Datasets",
            tfds(other_class),
        )._replace(own_process=True),  # a new process would find the module, which lies in the folder
    },
    "runs": {
        "none": Bad(
            "--workdir runs/ring holds no run (there is no runs/ring/config.json); train one", ("--mode=evaluate",)
        ),
        "none to resume": Bad(
            "--workdir none holds no run (there is no none/config.json)", ("--workdir=none",), config=False
        ),
        "no checkpoints": run(
            "--workdir run holds no checkpoint yet; train there first",
            lambda folder: shutil.rmtree(folder / "checkpoints"),
        ),
        "no such step": run(
            "run/checkpoints has no checkpoint of step 7; it has [4, 8]",
            lambda folder: None,
            "--mode=sample",
            "--step=7",
        ),
        "no step": run(
            "step is 'last'; it must be latest, best or a number", lambda folder: None, "--mode=sample", "--step=last"
        ),
        "more than the disk holds": run(
            f"--num is {10**15}; these samples take 8,000,000.0 GB, and ",
            lambda folder: None,
            "--mode=sample",
            f"--num={10**15}",
        ),
        "another config": run(
            "--workdir run holds another run, which differs in 1 fields; leave --config out",
            lambda folder: None,
            "--mode=evaluate",
            "--config=run/config.json",
            "--config.latent_dim=5",
            lines=2,
        ),
        "training with another config": run(
            "--workdir run holds another run, which differs in 2 fields; name another workdir",
            lambda folder: None,
            "--config=run/config.json",
            "--config.latent_dim=5",
            "--config.veegan.reconstructor_std=0.7",
            lines=3,
        ),
        "config without the model": run("holds another model than this config's: ", stored(latent_dim=4)),
        "config of another version": run(
            "run/config.json is damaged or of another version: config.batchsize is no field of this",
            stored(batchsize=3),
        ),
        "config of another type": run(
            "run/config.json is damaged or of another version: config.batch_size is 'many'", stored(batch_size="many")
        ),
        "config out of range": run("config.batch_size is 0; it must be at least 1", stored(batch_size=0)),
        "config torn": run(
            "run/config.json is damaged or of another version: it is not JSON",
            lambda folder: halve(folder / "config.json"),
        ),
        "config that is none": run(
            "run/config.json is damaged or of another version: it holds [3]; it must be an object",
            lambda folder: (folder / "config.json").write_text("[3]"),
        ),
        "config torn, in training": run(
            "run/config.json is damaged or of another version: it is not JSON",
            lambda folder: halve(folder / "config.json"),
            "--mode=train",
        ),
        "config missing": run(
            "--workdir run holds no run (there is no run/config.json); train",
            lambda folder: (folder / "config.json").unlink(),
        ),
        "arrays torn": run(
            "no whole checkpoint is left: start again in another --workdir", every("state/**/d/*", halve)
        ),
        "arrays with a bit flipped": run("run/checkpoints/8 is damaged: ", every("state/**/d/*", flip)),
        "arrays gone": run("run/checkpoints/4 is damaged: ", every("state/**/d/*", Path.unlink)),
        "manifest torn": run("no whole checkpoint is left", every("state/**/manifest.ocdbt", halve)),
        "metadata torn": run("no whole checkpoint is left", every("meta/*", halve)),
        "metadata gone": run("no whole checkpoint is left", every("meta/*", Path.unlink)),
        "folders empty": run(
            "no whole checkpoint is left",
            lambda folder: [shutil.rmtree(f) for f in (folder / "checkpoints").glob("*/*") if f.is_dir()],
        ),
        "this step damaged": run(
            "run/checkpoints/8 is damaged: ", every("8/state/**/d/*", halve), "--mode=sample", "--step=8"
        ),
        "nothing whole to resume": run(
            "no whole checkpoint is left: start again in another --workdir",
            every("state/**/d/*", halve),
            "--mode=train",
        ),
    },
    "machine": {
        "workdir is a file": Bad("--workdir /dev/null cannot be written: ", ("--workdir=/dev/null",)),
        "workdir in a file": Bad(
            "--workdir /dev/null/run cannot be written: Not a directory", ("--workdir=/dev/null/run",)
        ),
        "workdir read-only": Bad("--workdir /sys/run cannot be written: ", ("--workdir=/sys/run",)),
        "workdir in a bucket": Bad(
            "--workdir is gs://bucket/run; it must be a path of this machine: mount the bucket",
            ("--workdir=gs://bucket/run",),
        ),
        "workdir that is empty": Bad("--workdir is ''; it must be a path", ("--workdir=",)),
        "workdir in the home folder of nobody": Bad(
            "--workdir is ~nobody.here/run; no home folder of ~nobody.here is known", ("--workdir=~nobody.here/run",)
        ),
        "workdir in an unset variable": Bad("the variable $UNSET_NAME is not set", ("--workdir=$UNSET_NAME/run",)),
        "workdir in the home folder": Bad(
            "/here/none holds no run (there is no ", ("--workdir=~/none", "--mode=evaluate")
        ),
        "config in a bucket": Bad(
            "--config is s3://bucket/ring.py; it must be a path", ("--config=s3://bucket/ring.py",), config=False
        ),
        "images in a bucket": data("images", "s3://bucket/x", "config.images.path is s3://bucket/x; it must be a path"),
        "data in a bucket": data("mnist", "", "VEEGAN_DATA_DIR is gs://data; it must be", VEEGAN_DATA_DIR="gs://data"),
        "prepared sets in a bucket": data("mnist", "", "TFDS_DATA_DIR is gs://s; it must be", TFDS_DATA_DIR="gs://s"),
        "doubles": Bad(
            "jax_enable_x64 is True, and runs are made with False: unset the variable JAX_ENABLE_X64",
            environment={"JAX_ENABLE_X64": "1"},
            own_process=True,
        ),
        "devices": field("devices=5", "config.devices is 5; this machine has 4 (cpu)"),
        "batch of devices": field(
            "batch_size=30", "config.batch_size is 30; it must divide by 4 devices × packing 1, as 28 or 32 does"
        ),
        "platform": Bad(
            "JAX finds no devices: Unable to initialize backend 'nonsense'",
            environment={"JAX_PLATFORMS": "nonsense"},
            own_process=True,
        ),
        "platform that is not there": Bad(
            "JAX_PLATFORMS is 'rocm' and JAX_NUM_CPU_DEVICES is '4': set them right, or unset them",
            environment={"JAX_PLATFORMS": "rocm"},
            own_process=True,
        ),
        "number of processes": Bad(
            "JAX_NUM_PROCESSES is 'many'; it must be a number", environment={"JAX_NUM_PROCESSES": "many"}
        ),
        "no coordinator": Bad(
            "a run of several processes needs --coordinator (HOST:PORT of process 0) too, or --distributed",
            environment={"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"},
        ),
        "number of devices": Bad(
            'Invalid value "many" for JAX flag jax_num_cpu_devices',
            environment={"JAX_NUM_CPU_DEVICES": "many"},
            own_process=True,
        ),
        "weights of Inception": Bad(
            "VEEGAN_INCEPTION is none.pt; it must be a file",
            ("--config.data=images", "--config.images.path=x"),
            lambda here: data_files.write_images(here / "x", 3),
            environment={"VEEGAN_INCEPTION": "none.pt"},
        ),
        "preparing no set": Bad(
            "the following arguments are required: name", config=False, program="veegan_jax.cli.prepare"
        ),
        "preparing with another flag": Bad(
            "unrecognized arguments: --dir=x", ("mnist", "--dir=x"), config=False, program="veegan_jax.cli.prepare"
        ),
    },
}
CASES = {f"{kind}: {name}": bad for kind, rows in TABLES.items() for name, bad in rows.items()}
# One row of each table, for which a new process has to say the same as a fork.
COMPARED = (
    "flags: mode",
    "fields: integer",
    "config files: raises",
    "data: corrupt PNG",
    "runs: no such step",
    "machine: devices",
)


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="veegan_jax_bad_input_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _run() -> Path:
    """The folder of a run that has been saved at steps 4 and 8."""
    folder, config = _folder() / "run", tiny()
    experiment = build(config)
    with closing(Checkpoints(folder, best_metric=experiment.best_metric, keep_latest=2)) as checkpoints:
        for step in (4, 8):
            checkpoints.save(step, initial_state(experiment), effective(config))
    (folder / "config.json").write_text(json.dumps(effective(config), indent=2) + "\n")
    return folder


@functools.cache
def _set() -> Path:
    """The folder of all prepared sets, which are one set."""
    write_digits(_folder() / "sets", "mine")
    return _folder() / "sets"


def environment(bad: Bad, here: Path) -> dict[str, str]:
    """The variables of a command, all of whose default folders are the one it runs in, so that any writing is seen."""
    ours = {"XLA_FLAGS", "VEEGAN_DATA_DIR", "VEEGAN_INCEPTION"}
    return {
        **{name: value for name, value in os.environ.items() if name not in ours},
        **{name: str(here) for name in ("HOME", "VEEGAN_CACHE_DIR")},
        "TFDS_DATA_DIR": str(here / "sets"),
        "MPLCONFIGDIR": str(_folder()),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "4",
        **bad.environment,
    }


def arguments(bad: Bad) -> list[str]:
    return [*([f"--config={RING}"] if bad.config else []), *bad.arguments]


def in_a_process(bad: Bad, here: Path) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command, as a user runs it."""
    done = subprocess.run(
        [sys.executable, "-m", bad.program, *arguments(bad)],
        cwd=here,
        env=environment(bad, here),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def in_a_fork(server: ForkServer, bad: Bad, here: Path) -> tuple[int, str, str]:
    """What `in_a_process` returns, in a tenth of the time."""
    done = server(bad.program, arguments(bad), cwd=here, env=environment(bad, here))
    return done.returncode, done.stdout, done.stderr


def tree(folder: Path) -> dict[str, str]:
    """The digests of all files in a folder, by path, except the lock of a run, which holds no data."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
        if path.name != LOCK
    }


def prepared(bad: Bad, folder: Path) -> Path:
    folder.mkdir()
    bad.make(folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_one_line_names_what_is_wrong_and_nothing_is_written_or_lost(fork_server, case, tmp_path):
    bad = CASES[case]
    here = prepared(bad, tmp_path / "here")
    before = tree(here)
    code, stdout, stderr = in_a_process(bad, here) if bad.own_process else in_a_fork(fork_server, bad, here)
    assert code not in (0, 75), stderr
    assert code == 2 or bad.own_process, stderr
    assert stdout == ""
    assert stderr.startswith("error: ")
    assert bad.says in stderr
    assert len(stderr.splitlines()) == bad.lines, stderr
    assert tree(here) == before


@pytest.mark.parametrize("case", COMPARED)
def test_a_new_process_says_the_same_as_a_fork(fork_server, case, tmp_path):
    bad = CASES[case]
    here = prepared(bad, tmp_path / "here")
    assert in_a_process(bad, here) == in_a_fork(fork_server, bad, here)


def test_every_kind_has_rows():
    assert len(CASES) >= 60
    assert {case.partition(":")[0] for case in COMPARED} == set(TABLES)
