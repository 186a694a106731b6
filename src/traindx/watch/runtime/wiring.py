"""How collectors and probes come to know each other: each asks for what it uses, by type, in its constructor.

A collector *uses* the others that its constructor names (``def __init__(self, watch: Watch, networks: Networks)``) and
*provides* its public attributes and its signals (``networks.on_call``). It never sets an attribute of another one.
Nothing else has to be written down to add one, and a circle is refused with the names on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, get_type_hints

if TYPE_CHECKING:
    from traindx.watch.runtime.watch import Collector, Watch

P = ParamSpec("P")


class Signal(Generic[P]):
    """Something that a collector tells whoever wants to know.

    ``optimisers.on_step(self, self._step)`` subscribes; ``self.on_step.tell(rate)`` calls every subscriber. One that
    fails is blamed and the others are told all the same.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._subscribers: list[tuple[Collector, Callable[P, Any]]] = []

    def __call__(self, collector: Collector, told: Callable[P, Any]) -> None:
        """Subscribe ``told``, for ``collector``."""
        self._subscribers.append((collector, told))

    def __iter__(self) -> Iterator[tuple[Collector, Callable[P, Any]]]:
        return iter(self._subscribers)

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call every subscriber, in the order of subscription."""
        for collector, told in self._subscribers:
            with self._watch.ours(collector):
                told(*args, **kwargs)


def uses(kind: type[Any]) -> dict[str, type[Any]]:
    """What a constructor asks for: parameter names and their types."""
    hints = get_type_hints(kind.__init__)
    hints.pop("return", None)
    return hints


def wired(kinds: Iterable[type[Any]], given: Mapping[type[Any], Any]) -> list[Any]:
    """One instance of every kind, in this order, each made with the instances that its constructor asks for.

    Args:
        kinds: Classes; whatever one of them uses must be among them or given.
        given: Instances that exist already, by type.

    Raises:
        TypeError: Something that is used is neither listed nor given, or two use each other.
    """
    listed = list(kinds)
    known: dict[type[Any], Any] = dict(given)

    def make(kind: type[Any], path: tuple[type[Any], ...]) -> Any:
        if kind in known:
            return known[kind]
        names = " -> ".join(one.__name__ for one in (*path, kind))
        if kind in path:
            raise TypeError(f"collectors use each other in a circle: {names}")
        if kind not in listed:
            raise TypeError(f"{names}: {kind.__name__} is used, but it is neither listed nor given")
        parts = {name: make(wanted, (*path, kind)) for name, wanted in uses(kind).items()}
        known[kind] = kind(**parts)
        return known[kind]

    return [make(kind, ()) for kind in listed]
