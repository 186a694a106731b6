"""Does a share that a network is told in training (a rate of dropping, of masking) change what it gives?"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

from traindx.evidence.observed_calls import ArgumentTried
from traindx.watch.probes.base import Probe
from traindx.watch.probes.captured import Captured, parameter_names
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.tracing import floats_in
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.syntax import walk

UPDATES = ("m", "momentum", "tau", "ema", "decay", "beta", "alpha_ema")  # steer what is kept, and not what is given


class ShareInfluence(Probe):
    """Makes the call again with the same random numbers and 0 and 1 in the place of a number between them."""

    subject = "influence of shares"
    forwards: ClassVar[int] = 5
    dense: ClassVar[int] = 3

    def look(self, captured: Captured) -> None:
        """Compare the outputs bit by bit."""
        call = captured.call
        shares = list(_shares(call.network, call.args, call.kwargs))
        for name, value, args_kwargs in shares[:2]:
            base, again = self._given(captured, *args_kwargs(value)), self._given(captured, *args_kwargs(value))
            if not self._same(base, again):  # something else varies
                return
            both = [self._given(captured, *args_kwargs(other)) for other in (0.0, 1.0)]
            site = first_read(call.network, name) or call.site
            self.watch.sink.event(
                ArgumentTried(
                    network=type(call.network).__name__,
                    argument=name,
                    values=("0", "1"),
                    pairs=2,
                    same=sum(self._same(base, one) for one in both),
                    probed=True,
                    where=site.location(),
                    step=self.watch.iteration,
                )
            )

    def _given(self, captured: Captured, args: Any, kwargs: Any) -> list[Any]:
        return [one.clone() for one in floats_in(self.watch.torch, captured.again(args, kwargs))]

    def _same(self, one: list[Any], other: list[Any]) -> bool:
        return len(one) == len(other) and all(
            self.watch.torch.equal(first, second) for first, second in zip(one, other, strict=True)
        )


def _shares(network: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, float, Any]]:
    """Arguments that are a number between 0 and 1: name, value, and a function that puts another in its place."""
    names = parameter_names(network)
    for index, value in enumerate(args):
        if type(value) is float and 0 < value < 1 and index < len(names) and names[index] not in UPDATES:
            yield names[index], value, lambda new, i=index: ((*args[:i], new, *args[i + 1 :]), kwargs)
    for key, value in kwargs.items():
        if type(value) is float and 0 < value < 1 and key not in UPDATES:
            yield key, value, lambda new, k=key: (args, {**kwargs, k: new})


def first_read(network: Any, name: str) -> CallSite | None:
    """The first line of a network's ``forward`` that reads an argument; that of its head if none does."""
    function = inspect.unwrap(type(network).forward)
    code = getattr(function, "__code__", None)
    if code is None or not users(code.co_filename):
        return None
    definition = definition_of(code)
    lines = [
        node.lineno
        for node in (walk(definition) if definition is not None else ())
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
    ]
    return CallSite(code.co_filename, min(lines, default=code.co_firstlineno), code.co_qualname)
