"""Which cross-entropy is computed of which call of a network on sequences, inside the network or after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.collectors.torch_calls import TorchCalls, argument, call_site
from traindx.watch.probes.captured import tensor_arguments
from traindx.watch.probes.next_token import MOST_NUMBERS
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import Signal

LEAST_POSITIONS = 4
MOST_INSIDE = 4  # losses that a network computes in one call


class ClassLoss(NamedTuple):
    """A cross-entropy with gradients: what it was given.

    Attributes:
        logits: Detached.
        target: Whole numbers, detached; a clone if the network computed the loss inside a call.
        ignored: The number that is left out.
        weight: Weights of the classes, or None.
        each: It gives one number an element, which the script may mask.
        inside: The network computed it.
        site: The user's line.
    """

    logits: Any
    target: Any
    ignored: Any
    weight: Any
    each: bool
    inside: bool
    site: CallSite | None


class LossesOfCalls(Collector):
    """Tells every pair of a call on sequences that needs gradients and a cross-entropy of whole numbers after it.

    Attributes:
        on_loss: Tells call and loss, in training, right after both are known.
        inside: Losses that the network that is being called has computed so far.
        after: The last such call, until the iteration ends; other calls keep nothing alive.
    """

    subject = "losses of sequences"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.on_loss: Signal[[Call, ClassLoss]] = Signal(watch)
        self.inside: list[ClassLoss] = []
        self.after: Call | None = None

    def install(self) -> None:
        """Hear of calls and of losses."""
        functional = self.watch.torch.nn.functional
        self.networks.on_begin(self, lambda call, args: self.inside.clear())
        self.networks.on_call(self, self._called)
        self.calls.on(self, {functional.cross_entropy: "cross_entropy", functional.nll_loss: "nll_loss"}, self._loss)

    def end(self) -> None:
        """Keep nothing of an iteration alive."""
        self.after = None
        self.inside.clear()

    def _called(self, call: Call) -> None:
        torch = self.watch.torch
        if call.grad and any(is_sequence(torch, value) for _, value, _ in tensor_arguments(torch, call)):
            self.after = call
            for loss in self.inside:
                self.on_loss.tell(call, loss)

    def _loss(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        logits, target = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "target")
        if not all(isinstance(one, self.watch.torch.Tensor) for one in (logits, target)) or target.is_floating_point():
            return
        if not self.watch.grad_enabled or self.watch.would_wait(target) or target.numel() > MOST_NUMBERS:
            return
        inside = bool(self.networks.depth)
        loss = ClassLoss(
            logits.detach(),
            target.detach().clone() if inside else target.detach(),
            argument(args, kwargs, 4, "ignore_index", -100),
            argument(args, kwargs, 2, "weight"),
            argument(args, kwargs, 6, "reduction", "mean") == "none",
            inside,
            call_site(),
        )
        if inside:
            if len(self.inside) < MOST_INSIDE:
                self.inside.append(loss)
        elif self.after is not None:
            self.on_loss.tell(self.after, loss)

    def beside(
        self, call: Call, loss: ClassLoss, inside: Iterable[tuple[str, Any]] = ()
    ) -> Iterator[tuple[str, Any, Any]]:
        """Sequences that the network was given, each with the targets as (sequences, positions).

        There may be one target less than positions: the last one has no next. ``inside`` are further sequences, with
        their names.
        """
        torch, count = self.watch.torch, loss.target.numel()
        for name, given in [*((one[0], one[1]) for one in tensor_arguments(torch, call)), *inside]:
            if not is_sequence(torch, given) or self.watch.would_wait(given):
                continue
            rows, steps = given.shape[:2]
            for length in (steps, steps - 1):
                fits = length >= LEAST_POSITIONS and rows > 1 and rows * length == count
                if fits and (loss.target.dim() == 1 or tuple(loss.target.shape) == (rows, length)):
                    yield name, given, loss.target.reshape(rows, length)


def is_sequence(torch: Any, value: Any) -> bool:
    """Whole numbers ``(sequences, positions)``, or real ones ``(sequences, positions, features)``."""
    if value.numel() > MOST_NUMBERS:
        return False
    whole = value.dtype in (torch.int64, torch.int32)
    return bool(value.dim() == 2 if whole else value.dim() == 3 and value.is_floating_point())
