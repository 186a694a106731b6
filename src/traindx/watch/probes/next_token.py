"""Where a network is asked for the next token of a sequence that it is given: does it see that token?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from traindx.evidence.probed import FutureProbed
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.collectors.torch_calls import TorchCalls, argument
from traindx.watch.probes.base import Probe
from traindx.watch.probes.captured import Captured, CapturedCalls, tensor_arguments
from traindx.watch.probes.tracing import all_same, floats_in, in_step, traced
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.watch import Watch

LEAST_TOKENS = 6
MOST_NUMBERS = 65_536
AGREE = 0.95  # of the targets are the next tokens; what is not is padding that the loss ignores
BY_CHANCE = 0.9  # of the targets are the tokens themselves: a copy, or a sequence of one token


class NextToken(Probe):
    """Changes one token and compares what is given for the positions before it."""

    subject = "sequences whose next token is asked for"
    forwards: ClassVar[int] = 3
    dense: ClassVar[int] = 3

    def __init__(self, watch: Watch, captured: CapturedCalls, calls: TorchCalls, networks: Networks) -> None:
        super().__init__(watch, captured)
        self.calls = calls
        self.networks = networks
        self._tokens: tuple[int, Any] | None = None  # the network by identity, and a copy of what it was given
        self._asked: set[int] = set()

    def install(self) -> None:
        """Ask for calls, and hear of losses."""
        super().install()
        functional = self.watch.torch.nn.functional
        self.networks.on_call(self, self._called)
        self.calls.on(self, {functional.cross_entropy: "cross_entropy", functional.nll_loss: "nll_loss"}, self._loss)

    def wants(self, call: Call) -> bool:
        """Only calls of a network that was seen to be asked for next tokens."""
        return id(call.network) in self._asked and super().wants(call)

    def _called(self, call: Call) -> None:
        self._tokens = None
        if not call.grad or id(call.network) in self._asked:
            return
        tokens = self._of(call)
        if tokens is not None:
            self._tokens = (id(call.network), tokens[1].detach().clone())

    def _of(self, call: Call) -> tuple[str, Any, Callable[[Any], tuple[Any, Any]]] | None:
        """The only argument that is a batch of integer sequences."""
        torch = self.watch.torch
        found = [
            one
            for one in tensor_arguments(torch, call)
            if one[1].dtype in (torch.int64, torch.int32)
            and one[1].dim() == 2
            and one[1].shape[1] >= LEAST_TOKENS
            and one[1].numel() <= MOST_NUMBERS
        ]
        return found[0] if len(found) == 1 else None

    def _loss(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        target = argument(args, kwargs, 1, "target")
        if self._tokens is None or not isinstance(target, self.watch.torch.Tensor) or target.is_floating_point():
            return
        network, tokens = self._tokens
        if _is_next(tokens, target.detach(), argument(args, kwargs, 4, "ignore_index", -100)):
            self._asked.add(network)

    def look(self, captured: Captured) -> None:
        """Change one token in the middle."""
        torch, call = self.watch.torch, captured.call
        found = self._of(call)
        if found is None:
            return
        _, tokens, put = found
        length = int(tokens.shape[1])
        place = length // 2
        changed = tokens.clone()
        other = changed[:, :1].expand(-1, length)  # a token that the network knows
        changed[:, place] = torch.where(changed[:, place] == other[:, place], changed[:, 1], other[:, place])
        rows = (changed != tokens).any(1)
        if not bool(rows.any()):
            return
        one, two = captured.twin().eval(), captured.twin().eval()

        def before(value: Any) -> Any:
            axes = [axis for axis, size in enumerate(value.shape) if size == length and (axis or value.dim() > 2)]
            return value.narrow(axes[0], 0, place) if len(axes) == 1 else value[:0]  # not what relates each two

        args, kwargs = put(changed)
        with traced(torch, before) as first:
            own = next(iter(floats_in(torch, captured.again(network=one, seed=1))), None)
        with traced(torch, before) as second:
            moved = next(iter(floats_in(torch, captured.again(args, kwargs, network=two, seed=1))), None)
        if own is None or moved is None or own.shape != moved.shape or not own.dim() or not before(own).numel():
            return
        spread = max(float(sample(own, 65536).std(unbiased=False)), 1e-12)
        early = float((before(own) - before(moved)).square().mean().sqrt()) / spread
        at_all = float((own - moved).square().mean().sqrt()) / spread
        pairs = ((a, b) for a, b in in_step(first, second) if all_same(torch, a.taken, b.taken))
        mixed = next((a for a, b in pairs if _differ(a.given, b.given)), None)
        site = mixed.site if mixed is not None and early else call.site
        self.watch.sink.event(
            FutureProbed(
                network=type(call.network).__name__,
                tokens=length,
                before=early,
                at_all=at_all,
                where=site.location() if site is not None and site.file else None,
                called=call.site.location() if call.site.file else None,
                step=self.watch.iteration,
            )
        )


def _differ(one: list[Any], other: list[Any]) -> bool:
    pairs = [(a.double(), b.double()) for a, b in zip(one, other, strict=False) if a.numel()]
    return any(a.shape != b.shape or not bool(a.allclose(b, rtol=1e-4, atol=1e-5)) for a, b in pairs)


def _is_next(tokens: Any, target: Any, ignored: Any) -> bool:
    """True if what is asked for at each position is the token at the next one."""
    rows, length = tokens.shape
    if target.numel() == rows * length:
        wanted, given, same = target.reshape(rows, length)[:, :-1], tokens[:, 1:], tokens[:, :-1]
    elif target.numel() == rows * (length - 1):
        wanted, given, same = target.reshape(rows, length - 1), tokens[:, 1:], tokens[:, :-1]
    else:
        return False
    counted = wanted != ignored
    if int(counted.sum()) < LEAST_TOKENS:
        return False
    agree = float((wanted == given)[counted].double().mean())
    copied = float((wanted == same)[counted].double().mean())
    return agree >= AGREE and copied < BY_CHANCE
