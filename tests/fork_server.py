"""The project's programs, run many times in forks of one process that has imported them.

Importing takes most of the time of a command that fails. A request is a line of JSON on the server's stdin. A fork
carries it out as a process of its own would, with its arguments, folder, environment, and files for stdout and stderr;
the server answers with the fork's exit code. No backend of JAX is up before a fork.
"""

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

# The modules that the server can run, as `python -m MODULE` does.
MODULES = ("veegan_jax.main", "veegan_jax.cli.prepare", "launch.sweep", "launch.k8s")
# What these modules import when they need it.
IMPORTED_LATER = ("veegan_jax.cli.commands", "tensorboardX", "matplotlib.figure", "sklearn.datasets", "PIL.Image")


class ForkServer:
    """The client's side: starts a server, and sends it requests."""

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        """Starts the server.

        Args:
            folder: where the output of the programs is kept until it is read.
            environment: the server's variables. JAX reads those with its name as it is imported, which is here.
        """
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server"],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self, module: str, arguments: Sequence[object], *, cwd: Path, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Runs `python -m module arguments`; the result is that of `subprocess.run` with captured text."""
        command = [module, *map(str, arguments)]
        request = {"command": command, "cwd": str(cwd), "env": dict(env), "out": str(self._out), "err": str(self._err)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(command, code, self._out.read_text(), self._err.read_text())

    def close(self) -> None:
        """Ends the server."""
        self._process.communicate()


def serve() -> None:
    """Answers requests until stdin ends; in a fork, carries out its request and ends as a program does."""
    programs = {name: importlib.import_module(name).run for name in MODULES}
    for name in IMPORTED_LATER:
        importlib.import_module(name)
    gc.freeze()  # otherwise each fork goes through all that was imported when it collects garbage
    for line in sys.stdin:
        request = json.loads(line)
        if (child := os.fork()) == 0:
            _become(request)
            _end(programs[request["command"][0]])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(request: dict[str, Any]) -> None:
    """Turns this process into the one that was asked for."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["command"]
    for number, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)


def _end(program: Callable[[], None]) -> NoReturn:
    """Runs a program and ends this process as Python does, except that the modules are not taken apart.

    Taking apart what the server has imported would take most of the time of a command that fails.
    """
    code: Any = 0
    try:
        program()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # waits for threads
    atexit._run_exitfuncs()
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
