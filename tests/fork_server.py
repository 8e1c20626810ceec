"""The command line many times, from one process that has imported it: most of the time of a command that fails.

Each request, a line of JSON on stdin, is answered by the exit code of a fork that has run it as a process of its own
would: with its arguments, folder, environment, and files for stdout and stderr. No backend of JAX is up before a fork.
"""

import gc
import json
import os
import sys
from typing import Any

from veegan_jax import main
from veegan_jax.cli import prepare

PROGRAMS = {"main": main.run, "prepare": lambda: sys.exit(prepare.main())}


def serve() -> None:
    """Answers requests until stdin ends; in a fork, runs its request, and ends as a program does."""
    gc.freeze()  # else each fork, as it ends, goes through all that was imported
    for line in sys.stdin:
        request = json.loads(line)
        if (child := os.fork()) == 0:
            become(request)
            return PROGRAMS[request["program"]]()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


def become(request: dict[str, Any]) -> None:
    """Turns this process into the one that was asked for."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = [sys.argv[0], *request["arguments"]]
    for number, name in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)


if __name__ == "__main__":
    serve()
