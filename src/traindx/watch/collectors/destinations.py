"""Where the outputs of networks go: into a loss, into another network that is trained, or nowhere of the kind.

A call without gradients whose output a loss compares with, or a trained network gets, is a helper (a teacher, a
generator); one whose output goes nowhere near a gradient is a validation, however often it takes place. A layer that
never gets a gradient has been cut off if its output reaches the loss all the same, and is merely unused if not.

Followed are tensors, by weak reference, through every torch call of a watched iteration; what leaves torch is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from traindx.core import compat
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.loaders import tensors_in
from traindx.watch.collectors.networks import Call, CallPlace, Networks
from traindx.watch.collectors.nonfinite import graph_nodes
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.torch_calls import TorchCalls, named_functions
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.watch import Collector, Watch

SEVERAL = ("chunk", "split", "unbind", "max", "min", "topk", "sort", "tensor_split", "std_mean", "var_mean")
LOOKS = 2  # iterations in which a parameter got no gradient before its layer's output is followed
MOST_TENSORS = 4096  # that are followed before those that are gone are forgotten


class Destinations(Collector):
    """Follows outputs.

    Attributes:
        used: Layers without a gradient whose output was seen to reach the tensor that ``backward`` is called on.
        cuts: Where the gradient of such a layer's output ends.
        followed: Layers whose output was followed to a backward pass.
    """

    subject = "where outputs go"

    def __init__(
        self, watch: Watch, calls: TorchCalls, networks: Networks, backwards: Backwards, optimisers: Optimisers
    ) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.backwards = backwards
        self.optimisers = optimisers
        weak = watch.torch.utils.weak
        self.used: Any = weak.WeakIdKeyDictionary()
        self.cuts: Any = weak.WeakIdKeyDictionary()
        self.followed: Any = weak.WeakIdKeyDictionary()
        self._sources: dict[int, tuple[Any, frozenset[Any]]] = {}
        self._limit = MOST_TENSORS
        self._silent: set[int] = set()
        self._modules: dict[int, Any] = {}
        self._waiting: set[CallPlace] = set()
        self._nodes: dict[CallPlace, set[int]] = {}  # numbers of the graph nodes that outputs came out of

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self.calls.on_every(self, self._any)
        self.calls.on(self, named_functions(torch, SEVERAL), self._several)
        self.calls.on(self, {torch.Tensor.__setitem__: "setitem"}, self._filled)
        self.networks.on_call(self, self._called)
        self.networks.on_module(self, self._layer)
        self.backwards.on_backward(self, before=self._backward)

    def begin(self) -> None:
        """Old tensors are gone. Which parameters have been without a gradient so far?"""
        self._sources.clear()
        self._modules.clear()
        for place in self._waiting:  # the step before this iteration had its backward pass
            place.since = 0
        self._waiting.clear()
        self._nodes.clear()
        self._silent = set()
        if self.watch.level is ObservationLevel.FULL:
            for tracked in self.optimisers.order:
                optimizer = tracked.reference()
                for group in optimizer.param_groups if optimizer is not None else ():
                    for parameter in group["params"]:
                        known = self.optimisers.gradients.get(parameter) or ()
                        if len(known) >= LOOKS and not any(known) and parameter.requires_grad:
                            self._silent.add(id(parameter))

    def output_used(self, module: Any) -> bool | None:
        """Whether the output of a layer without a gradient reaches the loss; None if it was not followed."""
        return bool(self.used.get(module)) if module in self.followed else None

    # -- following -----------------------------------------------------------------------------------------------

    def _of(self, value: Any) -> frozenset[Any]:
        entry = self._sources.get(id(value))
        return entry[1] if entry is not None and entry[0]() is value else frozenset()

    def _put(self, tensor: Any, sources: frozenset[Any]) -> None:
        if len(self._sources) >= self._limit:
            self._sources = {key: entry for key, entry in self._sources.items() if entry[0]() is not None}
            self._limit = 2 * len(self._sources) + MOST_TENSORS
        self._sources[id(tensor)] = (self.watch.torch.utils.weak.TensorWeakRef(tensor), sources)

    def _any(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        known = self._sources
        if not known or self.watch.busy:
            return
        for value in args:
            if id(value) in known or type(value) in (list, tuple):
                break
        else:
            if not kwargs:
                return
        with self.watch.ours(self):
            self._pass_on(args, kwargs, (out,))

    def _several(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._sources:
            return None
        return lambda out: self._pass_on(args, kwargs, tuple(out)) if isinstance(out, tuple | list) else None

    def _filled(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._sources and len(args) > 2:
            sources = self._of(args[0]) | self._of(args[2])
            if sources:
                self._put(args[0], sources)

    def _pass_on(self, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: tuple[Any, ...]) -> None:
        tensor = self.watch.torch.Tensor
        sources: frozenset[Any] = frozenset()
        trained = any(isinstance(out, tensor) and out.requires_grad for out in outputs)
        for value in operands(args, kwargs, tensor):
            mine = self._of(value)
            if not mine:
                continue
            sources |= mine
            if trained and not value.requires_grad:
                self._feeds(mine)
            if value.requires_grad and not trained:
                self._cut(mine)
        if sources:
            for out in outputs:
                if isinstance(out, tensor):
                    self._put(out, sources)

    def _feeds(self, sources: frozenset[Any]) -> None:
        """Something without a gradient meets something that has one."""
        for source in sources:
            if isinstance(source, CallPlace):
                source.feeds = True

    def _cut(self, sources: frozenset[Any]) -> None:
        site: CallSite | None = None
        for source in sources:
            if isinstance(source, int) and self._modules[source] not in self.cuts:
                site = site or here()
                self.cuts[self._modules[source]] = site

    # -- where it begins and ends --------------------------------------------------------------------------------

    def _called(self, call: Call) -> None:
        if call.grad:
            for _, value in (*tensors_in(call.args, self.watch.torch), *tensors_in(call.kwargs, self.watch.torch)):
                self._feeds(self._of(value) - {call.place})
            self._waiting.add(call.place)
            call.place.since += 1
        for _, value in tensors_in(call.output, self.watch.torch):
            self._put(value, self._of(value) | {call.place})
            node = compat.node_of(value) if call.grad and self.watch.level is ObservationLevel.OFF else None
            if node is not None:
                self._nodes.setdefault(call.place, set()).add(compat.number(node))

    def _layer(self, module: Any, args: Any, output: Any) -> None:
        if self._silent and any(id(parameter) in self._silent for parameter in module._parameters.values()):
            self._modules[id(module)] = module
            for _, value in tensors_in(output, self.watch.torch):
                self._put(value, self._of(value) | {id(module)})

    def _backward(self, call: Backward) -> None:
        if self.watch.level is ObservationLevel.OFF:
            self._look_in_graph(call)
            return
        reached = self._of(call.root)
        for place in self._waiting:
            place.followed += 1
            place.since = 0
        self._waiting.clear()
        for source in reached:
            if isinstance(source, CallPlace):
                source.reached += 1
            elif source in self._modules:
                self.used[self._modules[source]] = True
        for module in self._modules.values():
            self.followed[module] = True

    def _look_in_graph(self, call: Backward) -> None:
        """Calls that were looked at aside from training (a validation with gradients), whose next backward pass is not.

        What was done with their outputs was not seen; the graph tells whether they are in it.
        """
        nodes, self._nodes = self._nodes, {}
        if nodes and call.root.grad_fn is not None:
            numbers = {compat.number(node) for node in graph_nodes(call.root.grad_fn)}
            for place, mine in nodes.items():
                place.followed += 1
                place.since = 0
                place.reached += bool(mine & numbers)


def operands(args: tuple[Any, ...], kwargs: dict[str, Any], tensor: type) -> Iterator[Any]:
    """Tensors among the arguments of a call, lists opened."""
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, tensor))
