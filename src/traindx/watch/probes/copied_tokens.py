"""Where the targets of a cross-entropy are the tokens that the network was given: can it copy them?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

from traindx.evidence.base import Record
from traindx.evidence.probed import TokensAsked
from traindx.watch.collectors.losses_of_calls import ClassLoss, LossesOfCalls
from traindx.watch.collectors.networks import Call
from traindx.watch.probes.base import Probe
from traindx.watch.probes.captured import Captured, CapturedCalls, tensor_arguments
from traindx.watch.probes.next_token import LEAST_TOKENS, MOST_NUMBERS
from traindx.watch.probes.tracing import floats_in
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.watch import Watch

LEAST_COUNTED = 24  # targets of a batch; fewer may be the tokens by chance
LEAST_DIFFERENT = 4  # tokens among them
ALL = 0.999  # of the targets are the tokens: nothing else than a copy
MOST_NEXT = 0.9  # of them are the next token as well: a sequence of one token
UNSEEN = 1e-3  # of the output's spread, as in M219


class _Asked(NamedTuple):
    """What a network is asked for, and where in its call that lies."""

    argument: str
    output: int  # among its tensors of real numbers
    columns: bool  # classes lie on the axis before the positions
    counted: Any
    site: CallSite | None


class CopiedTokens(Probe):
    """Compares targets with tokens; where they are equal, changes one token and makes the call again."""

    subject = "sequences whose own tokens are asked for"
    forwards: ClassVar[int] = 8
    dense: ClassVar[int] = 3

    def __init__(self, watch: Watch, captured: CapturedCalls, losses: LossesOfCalls) -> None:
        super().__init__(watch, captured)
        self.losses = losses
        self.compared = Bursts(4, 2.0)
        self._now: dict[int, dict[str, _Asked]] = {}  # of calls whose loss is known, by network and argument
        self._waiting: Captured | None = None  # for its loss
        self._copying: set[int] = set()  # networks whose targets were their tokens
        self._found: dict[tuple[str, str, CallSite | None], TokensAsked] = {}

    def install(self) -> None:
        """Ask for calls, and hear of losses."""
        super().install()
        self.losses.on_loss(self, self._loss)

    def end(self) -> None:
        """Keep nothing of an iteration alive."""
        self._waiting = None
        self._now.clear()

    def wants(self, call: Call) -> bool:
        """Only calls of a network that was seen to be asked for its tokens."""
        return id(call.network) in self._copying and super().wants(call)

    def _sequences(self, call: Call) -> Iterable[tuple[str, Any, Callable[[Any], tuple[Any, Any]]]]:
        torch = self.watch.torch
        return (
            one
            for one in tensor_arguments(torch, call)
            if one[1].dtype in (torch.int64, torch.int32)
            and one[1].dim() == 2
            and LEAST_COUNTED <= one[1].numel() <= MOST_NUMBERS
            and max(one[1].shape) >= LEAST_TOKENS
        )

    def _loss(self, call: Call, loss: ClassLoss) -> None:
        self._compare(call, loss)
        waiting = self._waiting
        if not loss.inside and waiting is not None:
            self._waiting = None
            if waiting.call.network is call.network:
                with self.captured.spending(self):
                    self._try(waiting)

    def _compare(self, call: Call, loss: ClassLoss) -> None:
        for name, given, _ in self._sequences(call):
            if given.numel() != loss.target.numel() or not self._looks(call, name, loss):
                continue
            tokens, target = given.detach(), loss.target.reshape(given.shape)
            counted = target != loss.ignored
            count = int(counted.sum())
            if count < LEAST_COUNTED or len(target[counted].unique()) < LEAST_DIFFERENT:
                continue
            equal = float((target == tokens)[counted].double().mean())
            following = float((target[:, :-1] == tokens[:, 1:])[counted[:, :-1]].double().mean())
            lies = self._lies(call, loss, tuple(tokens.shape)) if equal >= ALL and following < MOST_NEXT else None
            if lies is not None:
                self._copying.add(id(call.network))
                self._now.setdefault(id(call.network), {})[name] = _Asked(name, *lies, counted, loss.site)
            self._note(call, name, loss, counted, equal if following < MOST_NEXT else 0.0)

    def _looks(self, call: Call, name: str, loss: ClassLoss) -> bool:
        return id(call.network) in self._copying or self.compared.wanted((call.place.key, name, loss.site))

    def _note(self, call: Call, name: str, loss: ClassLoss, counted: Any, equal: float) -> None:
        key, count = (type(call.network).__name__, name, loss.site), int(counted.sum())
        before = self._found.get(key)
        begins = counted & ~self.watch.torch.nn.functional.pad(counted[:, :-1], (1, 0))
        self._found[key] = TokensAsked(
            network=key[0],
            argument=name,
            counted=count + (before.counted if before is not None else 0),
            equal=min(equal, before.equal if before is not None else 1.0),
            hidden=1 - count / counted.numel(),
            runs=float(begins.sum(1).double().mean()),
            own=before.own if before is not None else None,
            own_then=before.own_then if before is not None else None,
            before=before.before if before is not None else None,
            after=before.after if before is not None else None,
            where=loss.site.location() if loss.site is not None else None,
            called=call.site.location() if call.site.file else None,
            step=self.watch.iteration,
        )

    def _lies(self, call: Call, loss: ClassLoss, shape: tuple[int, ...]) -> tuple[int, bool] | None:
        """Which output the loss is given as it came out, and whether its classes lie before the positions.

        Logits that were moved by one position since are another matter than what came out.
        """
        torch = self.watch.torch
        given = loss.logits if loss.logits.dim() == 2 else loss.logits.transpose(1, -1)
        if given.shape[-1] * loss.target.numel() != given.numel():
            return None
        given = given.reshape(*shape, given.shape[-1])
        for number, output in enumerate(floats_in(torch, call.output)):
            for columns in (False, True):
                rows = laid_out(output.detach(), shape, columns)
                if rows is None or rows.shape != given.shape:
                    continue
                if rows.equal(given) or rows.log_softmax(-1).allclose(given, atol=1e-5):
                    return number, columns
        return None

    # -- the experiment ------------------------------------------------------------------------------------------

    def look(self, captured: Captured) -> None:
        """Now, where the network computed its loss itself; else when its loss is computed."""
        if id(captured.call.network) in self._now and self.losses.inside:
            self._try(captured)
        else:
            self._waiting = captured

    def _try(self, captured: Captured) -> None:
        call = captured.call
        asked = self._now.get(id(call.network), {})
        for name, tokens, put in list(self._sequences(call)):
            if name in asked:  # a network that computes its loss is given the targets, too
                self._move(captured, asked[name], tokens, put)

    def _move(self, captured: Captured, asked: _Asked, tokens: Any, put: Callable[[Any], tuple[Any, Any]]) -> None:
        torch, key = self.watch.torch, (type(captured.call.network).__name__, asked.argument, asked.site)
        for along in (1, 0):  # positions lie along the second axis, or (sequence first) along the first one
            if tokens.shape[along] < LEAST_TOKENS:
                continue
            counts = asked.counted.sum(1 - along)
            counts[0] = counts[-1] = 0  # something must come before and after
            place = int(counts.argmax())
            changed = _changed(torch, tokens, asked.counted, place, along)
            if changed is None:
                continue
            moved = [self._moved(captured, put(changed), asked, (tokens, place, along), then) for then in (False, True)]
            if any(one is None for one in moved):
                continue
            (before, own, after), (_, own_then, _) = moved  # type: ignore[misc]
            causal = before <= UNSEEN < after
            if causal or (along and self._found[key].own is None):
                measured = {"own": own, "own_then": own_then, "before": before, "after": after}
                self._found[key] = self._found[key].model_copy(update=measured)
            if causal:
                return

    def _moved(
        self, captured: Captured, given: tuple[Any, Any], asked: _Asked, at: tuple[Any, int, int], then: bool
    ) -> tuple[float, float, float] | None:
        """What a changed token does before its position, at it, and after it, over the spread of the output."""
        torch, (tokens, place, along) = self.watch.torch, at
        found = []
        for args, kwargs in ((None, None), given):
            network = captured.twin() if then else captured.twin().eval()
            output = captured.again(args, kwargs, network=network, seed=None if then else 1)
            outputs = list(floats_in(torch, output))
            rows = laid_out(outputs[asked.output], tuple(tokens.shape), asked.columns) if outputs else None
            if rows is None:
                return None
            found.append(rows.transpose(0, 1) if not along else rows)
        one, two = found
        if one.shape != two.shape:
            return None
        spread = max(float(sample(one, 65536).std(unbiased=False)), 1e-12)
        squares = (one - two).double().square().mean((0, 2))
        parts = (squares[:place], squares[place], squares[place + 1 :])
        before, own, after = (float(part.mean().sqrt()) / spread for part in parts)
        return before, own, after

    def records(self) -> Iterable[Record]:
        """One a loss."""
        return tuple(self._found.values())


def laid_out(output: Any, shape: tuple[int, ...], columns: bool) -> Any | None:
    """An output as (sequences, positions, classes), or None where it does not lie so.

    Args:
        output: Shape ``(A, B, V)``, ``(A * B, V)``, or ``(A, V, B)`` with ``columns``.
        shape: ``(A, B)``.
        columns: Classes lie before positions.
    """
    if columns:
        good = output.dim() == 3 and (output.shape[0], output.shape[2]) == shape
        return output.transpose(1, 2) if good else None
    if output.dim() == 2 and output.shape[0] == shape[0] * shape[1]:
        return output.reshape(*shape, output.shape[1])
    return output if output.dim() == 3 and tuple(output.shape[:2]) == shape else None


def _changed(torch: Any, tokens: Any, counted: Any, place: int, along: int) -> Any | None:
    """Another token that occurs in the batch at one position, in the sequences whose target counts there."""
    known = tokens[counted].unique()
    changed = tokens.clone()
    column, counts = changed.select(along, place), counted.select(along, place)
    other = torch.where(column == known[0], known[-1], known[0])
    column.copy_(torch.where(counts, other, column))
    return changed if bool(counts.any()) and len(known) > 1 else None
