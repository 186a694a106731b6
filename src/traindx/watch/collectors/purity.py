"""May the graph of a loss be read, or walked backwards once more, without the script noticing?

A second pass runs whatever the script hung into the graph: hooks on tensors and nodes, functions of its own, the
unpacking of saved tensors, the recomputation of checkpointed segments. What a script can hang there has no end, so the
question is asked the other way round: every node must be one of torch's own, made in this iteration, while everything
that could hang something there was watched and did not happen.
"""

from __future__ import annotations

from typing import Any

from traindx.core import compat
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.runtime.watch import Collector, Watch

MOST_NODES = 20_000
MODULE_HOOKS = ("register_full_backward_hook", "register_full_backward_pre_hook", "register_backward_hook")


class Purity(Collector):
    """Watches whatever can make a backward pass run the script's own code."""

    subject = "what hangs in the graph"

    def __init__(self, watch: Watch, calls: TorchCalls) -> None:
        super().__init__(watch)
        self.calls = calls
        self._hooked = False  # for good: a hook on a parameter stays
        self._touched_in = -1
        self._packed_in = -1
        self._packing = 0
        self._first = 0
        self._functions: frozenset[type] = frozenset()

    def install(self) -> None:
        """Patch registration of hooks and packing of saved tensors; see nodes that are handed out."""
        torch, watch = self.watch.torch, self.watch
        self._functions = compat.node_types(torch)

        def make_register(original: Any) -> Any:
            def register(owner: Any, *args: Any, **kwargs: Any) -> Any:
                self._hooked = self._hooked or watch.here_and_now
                return original(owner, *args, **kwargs)

            return register

        def make_enter(original: Any) -> Any:
            def enter(hooks: Any) -> Any:
                self._packing += 1
                self._packed_in = watch.iteration
                return original(hooks)

            return enter

        def make_exit(original: Any) -> Any:
            def leave(hooks: Any, *error: Any) -> Any:
                self._packing = max(0, self._packing - 1)
                self._packed_in = watch.iteration
                return original(hooks, *error)

            return leave

        def make_checkpoint(original: Any) -> Any:
            def checkpoint(*args: Any, **kwargs: Any) -> Any:
                self._packed_in = watch.iteration
                return original(*args, **kwargs)

            return checkpoint

        watch.patches.wrap(torch.Tensor, "register_hook", make_register)
        for name in MODULE_HOOKS:
            watch.patches.wrap(torch.nn.Module, name, make_register)
        watch.patches.wrap(torch.autograd.graph.saved_tensors_hooks, "__enter__", make_enter)
        watch.patches.wrap(torch.autograd.graph.saved_tensors_hooks, "__exit__", make_exit)
        watch.patches.wrap(torch.utils.checkpoint, "checkpoint", make_checkpoint)
        handed_out = {torch.Tensor.grad_fn.__get__: "grad_fn", torch.Tensor.retain_grad: "retain_grad"}
        self.calls.on(self, handed_out, self._handed_out)

    def _handed_out(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._touched_in = self.watch.iteration

    def begin(self) -> None:
        """Nodes from here on belong to this iteration."""
        self._first = compat.next_number(self.watch.torch)

    # -- answers -------------------------------------------------------------------------------------------------

    @property
    def why_not_read(self) -> str:
        """Why saved tensors of the present graph must not be read, or "" if they may be."""
        if self._packing or self._packed_in == self.watch.iteration:
            return "the script packs the tensors that are saved for the backward pass, and would unpack them more often"
        return ""

    def why_not_again(self, root: Any) -> str:
        """Why the graph below a node must not be walked backwards a second time, or "" if it may be."""
        watch = self.watch
        if self._hooked or self._touched_in == watch.iteration:
            return "the script put hooks on gradients or holds nodes of the graph; its hooks would run more often"
        if watch.blind_in == watch.iteration:
            return "compiled code is part of the graph"
        if watch.torch.is_anomaly_enabled():
            return "the script looks for anomalies in backward passes"
        return self.why_not_read or self._foreign(root)

    def _foreign(self, root: Any) -> str:
        waiting, seen = [root], {root}
        while waiting:
            node = waiting.pop()
            if type(node) not in self._functions:
                return f"the graph holds {type(node).__name__}, which is not torch's own"
            last = not node.next_functions
            if not last and compat.number(node) < self._first:
                return "a part of the graph is older than this iteration"
            if len(seen) > MOST_NODES:
                return "the graph is too large to be checked"
            for child, _ in node.next_functions:
                if child is not None and child not in seen:
                    seen.add(child)
                    waiting.append(child)
        return ""
