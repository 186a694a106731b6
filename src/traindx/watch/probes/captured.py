"""Calls of networks as material for experiments: arguments, output, and everything needed to make the call again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from traindx.core import compat
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.probes.isolation import CannotRepeatError, Moment, isolated, muted, twin, unwrapped, without_modes
from traindx.watch.probes.side_effects import hooks_on_all, why_not_called
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.stats import has_values
from traindx.watch.runtime.structure import items, named_buffers
from traindx.watch.runtime.watch import Collector, Watch

LARGEST_SHARE = 0.12  # of the run's time that experiments may take in all
FREE_SECONDS = 2.0  # what they may take in any case, so that a short run is looked at too
# Time is processor time of the training's thread: what is found must not depend on who else uses the machine. A thread
# that waits for a GPU spins, which counts; one that waits for its data does not, and experiments do not delay those.
clock = time.thread_time


@dataclass
class Captured:
    """One call of an outermost network.

    Attributes:
        call: Network, line, arguments and output.
        then: Random state and precision when it began.
        buffers: Copies of the network's buffers from when it began.
        seconds: Processor time that the script's own call took.
    """

    call: Call
    then: Moment
    buffers: dict[str, Any]
    seconds: float = 0.0
    _versions: list[tuple[Any, int]] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """No positional argument was changed in place since the call began."""
        return all(compat.version(value) == version for value, version in self._versions)

    def twin(self) -> Any:
        """A copy of the network as it is now, with the buffers of when the call began."""
        torch = self.then.torch
        return twin(torch, unwrapped(torch, self.call.network), self.buffers)

    def again(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        *,
        network: Any = None,
        seed: int | None = None,
    ) -> Any:
        """Make the call again, with other arguments or another network if wanted, and leave no trace.

        Args:
            args: Positional arguments; the call's own if None.
            kwargs: Keyword arguments; the call's own if None.
            network: A twin that was prepared otherwise.
            seed: Seed instead of the random state of then.

        Raises:
            CannotRepeatError: It cannot be called again without leaving a trace.
        """
        if not self.intact:
            raise CannotRepeatError("its arguments were changed in place")
        network = self.twin() if network is None else network
        with isolated(self.then.torch, self.then, seed):
            return network(
                *(self.call.args if args is None else args), **(self.call.kwargs if kwargs is None else kwargs)
            )


class CapturedCalls(Collector):
    """Captures the calls that some probe wants, and keeps the account of what the probes cost.

    Attributes:
        spent: Seconds of processor time that experiments took so far.
    """

    subject = "captured calls"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self.spent = 0.0
        self._reasons: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._probes: list[tuple[Collector, Callable[[Call], bool], Callable[[Captured], None]]] = []
        self._open: dict[int, tuple[Captured, float, list[tuple[Collector, Callable[[Captured], None]]]]] = {}

    def on_captured(self, probe: Collector, wants: Callable[[Call], bool], told: Callable[[Captured], None]) -> None:
        """Call ``told`` right after every network call for which ``wants`` said yes when it began."""
        self._probes.append((probe, wants, told))

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_begin(self, self._begins)
        self.networks.on_call(self, self._ended)

    def begin(self) -> None:
        """An exception may have left a call open."""
        self._open.clear()

    def affordable(self, seconds: float) -> bool:
        """True if an experiment of this length stays within what experiments may cost."""
        elapsed = clock() - self.watch.started_at if self.watch.started else 0.0
        return self.spent + seconds <= max(FREE_SECONDS, LARGEST_SHARE * elapsed)

    def _begins(self, call: Call, args: tuple[Any, ...]) -> None:
        told = [(probe, tell) for probe, wants, tell in self._probes if wants(call)]
        if not told:
            return
        torch = self.watch.torch
        reason = self._why_not(call.network)
        if reason:
            self.watch.not_examined("experiments on a network", reason, call.site)
            return
        try:
            buffers = named_buffers(unwrapped(torch, call.network))
        except CannotRepeatError as error:
            self.watch.not_examined("experiments on a network", str(error), call.site)
            return
        captured = Captured(call, Moment.now(torch), {name: value.detach().clone() for name, value in buffers})
        captured._versions = [(value, compat.version(value)) for value in args if isinstance(value, torch.Tensor)]
        self._open = {id(call): (captured, clock(), told)}

    def _why_not(self, network: Any) -> str:
        """Why a network must not be called for an experiment, or ""; found once for each."""
        if hooks_on_all(self.watch.torch, self.networks.hooks_in_place):
            return "the script put hooks on all modules, which would run"
        if network not in self._reasons:
            self._reasons[network] = why_not_called(self.watch.torch, network)
        return str(self._reasons[network])

    def _ended(self, call: Call) -> None:
        captured, began, told = self._open.pop(id(call), (None, 0.0, []))
        if captured is None:
            return
        captured.seconds = clock() - began
        values = (*call.args, *call.kwargs.values())
        odd = any(
            isinstance(value, self.watch.torch.Tensor) and not has_elements(self.watch.torch, value) for value in values
        )
        for probe, tell in () if odd else told:
            if probe in self.watch.collectors:  # not dropped for its failures
                with self.spending(probe):
                    tell(captured)
        torch = self.watch.torch
        captured.call = replace(
            call,
            args=detached(torch, call.args),
            kwargs=detached(torch, call.kwargs),
            output=detached(torch, call.output),
        )

    @contextmanager
    def spending(self, probe: Collector) -> Iterator[None]:
        """A block whose time counts as an experiment's, and whose failures are the probe's own."""
        began = clock()
        with self.watch.ours(probe), muted(), without_modes(self.watch.torch):
            try:
                yield
            except CannotRepeatError as error:
                self.watch.not_examined(probe.subject, f"the network cannot be called again: {error}")
            except Exception as error:
                if not raised_by_the_script(error):
                    raise
                reason = f"the network cannot be called again: it raises {type(error).__name__}"
                self.watch.not_examined(probe.subject, reason)
            finally:
                self.spent += clock() - began


def raised_by_the_script(error: BaseException) -> bool:
    """True if an exception came out of a line of the script's, or through one."""
    trace = error.__traceback__
    while trace is not None:
        if users(trace.tb_frame.f_code.co_filename):
            return True
        trace = trace.tb_next
    return False


def detached(torch: Any, value: Any) -> Any:
    """The same values without the graph they came out of, so that nothing of it is kept alive."""
    if isinstance(value, torch.Tensor):
        return value.detach() if has_values(value) else None
    if type(value) in (list, tuple):
        return type(value)(detached(torch, one) for one in value)
    if isinstance(value, dict):
        return {key: detached(torch, one) for key, one in items(value)}
    return value


def tensor_arguments(torch: Any, call: Call) -> Iterator[tuple[str, Any, Callable[[Any], tuple[Any, Any]]]]:
    """Every tensor among a call's arguments: its name, the tensor, and a function that puts another in its place.

    The function returns new ``(args, kwargs)``. One level of lists, tuples and mappings is opened.
    """
    names = parameter_names(call.network)
    args, kwargs = call.args, call.kwargs

    def placed(index: int, value: Any) -> tuple[Any, Any]:
        return (*args[:index], value, *args[index + 1 :]), kwargs

    def named(key: str, value: Any) -> tuple[Any, Any]:
        return args, {**kwargs, key: value}

    for index, value in enumerate(args):
        if isinstance(value, torch.Tensor) and not has_elements(torch, value):
            continue
        name = names[index] if index < len(names) else str(index)
        for path, tensor, rebuild in _inside(torch, name, value):
            yield path, tensor, lambda new, i=index, b=rebuild: placed(i, b(new))  # type: ignore[misc]
    for key, value in kwargs.items():
        if isinstance(value, torch.Tensor) and not has_elements(torch, value):
            continue
        for path, tensor, rebuild in _inside(torch, key, value):
            yield path, tensor, lambda new, k=key, b=rebuild: named(k, b(new))  # type: ignore[misc]


def _inside(torch: Any, name: str, value: Any) -> Iterator[tuple[str, Any, Callable[[Any], Any]]]:
    if isinstance(value, torch.Tensor):
        yield name, value, lambda new: new
    elif type(value) in (list, tuple) and len(value) <= 8:
        for index, one in enumerate(value):
            if isinstance(one, torch.Tensor):
                yield (
                    f"{name}[{index}]",
                    one,
                    lambda new, i=index: type(value)((*value[:i], new, *value[i + 1 :])),  # type: ignore[misc]
                )
    elif type(value) is dict and len(value) <= 16:
        for key, one in value.items():
            if isinstance(one, torch.Tensor):
                yield f"{name}[{key!r}]", one, lambda new, k=key: type(value)({**value, k: new})  # type: ignore[misc]


def has_elements(torch: Any, tensor: Any) -> bool:
    """True for a tensor whose elements can be read and changed one by one without running anybody's code."""
    return bool(has_values(tensor) and tensor.layout is torch.strided and not tensor.is_quantized)


def parameter_names(network: Any) -> list[str]:
    """Names of the positional parameters of a network's ``forward``; empty where they cannot be told."""
    import inspect

    network = getattr(network, "module", None) or getattr(network, "_orig_mod", None) or network
    try:
        parameters = inspect.signature(network.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
