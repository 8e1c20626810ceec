"""The loop around the compiled step. It knows nothing but hooks, which are called between calls of the step."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from veegan_jax.errors import NonFiniteError
from veegan_jax.parallel import processes
from veegan_jax.parallel.devices import put_together
from veegan_jax.train.state import TrainState

# The row of a step: its losses, to which hooks add scores.
Row = dict[str, float]


class Hook(NamedTuple):
    """Something that is done every few steps.

    Attributes:
        run: `run(step, state, row)`; hooks that are due at one step are called in their order, with the same row. They
            run on another thread where the loop overlaps them with training.
        every: the hook is due at each multiple of any of these numbers of steps, and at the last step.
        needs_state: whether `run` reads the state, which the next call of the step overwrites. A hook that does not is
            given None, and runs while the next call is computed.
    """

    run: Callable[[int, Any, Row], None]
    every: tuple[int, ...]
    needs_state: bool = True

    def due(self, step: int, last: int) -> bool:
        """Returns whether the hook is due at a step of a run that ends at step `last`."""
        return step == last or any(step % every == 0 for every in self.every)


class Call(NamedTuple):
    """A call of the step.

    Attributes:
        start: the number of steps before it.
        end: the number of steps after it.
        scalars: `{name: [S, end − start]}`, which may still be in progress.
    """

    start: int
    end: int
    scalars: Mapping[str, jax.Array]


class Background:
    """Runs pieces of work on another thread, one after another in their order; none runs after one that failed.

    The thread computes on one core: OpenBLAS's threads wait for one another in a busy loop, which is ruinous where
    training needs the cores.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "hooks")
        self._last: Future[None] | None = None

    def __enter__(self) -> "Background":
        return self

    def run(self, work: Callable[[], None]) -> None:
        """Lets some work be done after what was given before."""
        self._last = self._thread.submit(self._after, self._last, work)

    def _after(self, before: Future[None] | None, work: Callable[[], None]) -> None:
        from threadpoolctl import threadpool_limits

        if before:
            before.result()  # An error there is the error of all that comes after it.
        with threadpool_limits(1, user_api="blas"):
            work()

    @property
    def busy(self) -> bool:
        """Whether some work is not done yet."""
        return self._last is not None and not self._last.done()

    def check(self) -> None:
        """Raises the error of work that has failed."""
        if self._last and self._last.done():
            self._last.result()

    def wait(self) -> None:
        """Returns when all work is done; raises the error of work that failed."""
        if self._last:
            self._last.result()

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        """Waits for all work, whose error comes first since it is of an earlier step; after Ctrl-C none is begun."""
        try:
            if kind is None or issubclass(kind, Exception):
                self.wait()
        finally:
            # What is in progress ends before the folder of the run is free for another process.
            self._thread.shutdown(cancel_futures=True)


def run_loop(
    advance: Callable[[TrainState, int], tuple[TrainState, Mapping[str, jax.Array]]],
    state: TrainState,
    step: int,
    hooks: Sequence[Hook],
    *,
    num_steps: int,
    steps_per_call: int,
    stop_asked: Callable[[], bool],
    progress: Callable[[int], None],
    overlap: bool = False,
) -> tuple[TrainState, int]:
    """Trains from `step` to `num_steps`, or until a stop is asked for.

    Args:
        advance: `advance(state, n) -> (state, scalars)` takes n steps; the state given is overwritten.
        state: after `step` steps.
        step: the number of steps taken already.
        hooks: called on the process that writes; every process has the same cadences.
        num_steps: the last step.
        steps_per_call: the largest number of steps in one call.
        stop_asked: asked once before each call.
        progress: called with each step whose losses are known to be finite.
        overlap: whether hooks run while the next calls of the step are computed, on a copy of the state. It is for one
            process with one device: the devices of several would wait for one another's computations.

    Returns:
        The last state and step.

    Raises:
        NonFiniteError: if a loss is NaN or infinite.
        UserError: if a hook raises one.
    """

    def finish(call: Call, state: TrainState | None) -> None:
        row = mean_losses(call)
        progress(call.end)
        if not due_hooks(hooks, call.end, num_steps, state):
            return
        if state is not None or not overlap:
            background.wait()  # so that there is one copy of the state at most
        state = put_together(state)
        if not overlap or call.end == num_steps:
            call_hooks(hooks, call.end, num_steps, state, row)
            return
        kept = jax.device_put(state, may_alias=False)  # the next call of the step overwrites the state
        background.run(partial(call_hooks, hooks, call.end, num_steps, kept, row))

    cadences = [steps_per_call, *(every for hook in hooks for every in hook.every)]
    unread: Call | None = None
    with Background() as background:
        while step < num_steps and not stop_asked():
            background.check()
            end = next_stop(step, num_steps, cadences)
            state, scalars = advance(state, end - step)
            if background.busy:
                # On one core a queue of calls that is never empty would keep a hook's own computations waiting.
                jax.block_until_ready(scalars)
            if unread:  # The scalars of the call before are read while this call is computed.
                finish(unread, None)
            unread, step = Call(step, end, scalars), end
            if any(hook.needs_state and hook.due(step, num_steps) for hook in hooks):
                finish(unread, state)
                unread = None
        if unread:
            finish(unread, None)
    return put_together(state), step


def due_hooks(hooks: Sequence[Hook], step: int, last: int, state: TrainState | None) -> list[Hook]:
    """Returns the hooks that are due at a step, in their order; without a state, those that do not need it."""
    return [hook for hook in hooks if hook.due(step, last) and (state is not None or not hook.needs_state)]


def call_hooks(hooks: Sequence[Hook], step: int, last: int, state: TrainState | None, row: Row) -> None:
    """Calls the hooks that are due, in their order, on the process that writes; the other processes wait.

    Args:
        hooks: all hooks of the run.
        step: the step that has been reached.
        last: the last step of the run.
        state: after that step; None to call only the hooks that do not need it.
        row: the losses of the step.
    """
    if due := due_hooks(hooks, step, last, state):
        processes.run_on_primary(f"step {step}", lambda: [hook.run(step, state, row) for hook in due])


def next_stop(step: int, last: int, cadences: Sequence[int]) -> int:
    """Returns where the next call ends: at the next multiple of any cadence, or at the last step.

    The multiples are those of absolute steps, so that a resumed run makes the same calls as an uninterrupted one.
    """
    return min(last, *(step - step % every + every for every in cadences))


def mean_losses(call: Call) -> Row:
    """Waits for the scalars of a call, and returns their means over its steps and replicas.

    Raises:
        NonFiniteError: naming the first step at which a scalar is not finite, the scalar and its value.
    """
    scalars = {name: np.asarray(values) for name, values in call.scalars.items()}
    found = []
    for name, values in scalars.items():
        bad = ~np.isfinite(values)
        if bad.any():
            offset = int(bad.any(axis=0).argmax())
            found.append((call.start + offset + 1, name, float(values[:, offset][bad[:, offset]][0])))
    if found:
        step, name, value = min(found)
        raise diverged(f"{name} is {value} at step {step}")
    return {name: float(values.mean()) for name, values in scalars.items()}


def diverged(what: str) -> NonFiniteError:
    """Returns the error of a run whose numbers are no longer finite."""
    return NonFiniteError(
        f"{what}; stopped, and nothing was saved since the last good checkpoint. A lower learning rate may help"
    )
