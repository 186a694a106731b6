"""How far ahead of the token that it sees last a network for tokens is asked: one position, or two."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_loss import TokenOffset
from traindx.watch.collectors.losses_of_calls import ClassLoss, LossesOfCalls, is_sequence
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.probes.copied_tokens import laid_out
from traindx.watch.probes.tracing import floats_in
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.watch import Collector, Watch

LEAST_COUNTED = 24  # targets that have a token so far ahead
LEAST_DIFFERENT = 4  # tokens among them
MOST_EMBEDDED = 4  # calls of embeddings that are remembered of a call
OFFSETS = (0, 1, 2)


class TokenOffsets(Collector):
    """Compares targets with the tokens given at the same position, one later and two later, in a few batches."""

    subject = "positions of tokens and targets"

    def __init__(self, watch: Watch, losses: LossesOfCalls, networks: Networks) -> None:
        super().__init__(watch)
        self.losses = losses
        self.networks = networks
        self._embedded: list[Any] = []  # tokens that layers of the present call were given
        self.compared = Bursts(6, 2.0)
        self._seen: dict[tuple[str, str, CallSite], TokenOffset] = {}

    def install(self) -> None:
        """Hear of losses, and of tokens that are embedded inside a network."""
        self._embedding = self.watch.torch.nn.Embedding
        self.losses.on_loss(self, self._loss)
        self.networks.on_begin(self, lambda call, args: self._embedded.clear())
        self.networks.on_module(self, self._called)

    def end(self) -> None:
        """Keep nothing of an iteration alive."""
        self._embedded.clear()

    def _called(self, module: Any, args: Any, output: Any) -> None:
        """A decoder that moves its labels by itself is given other tokens than the network."""
        if isinstance(module, self._embedding) and len(self._embedded) < MOST_EMBEDDED and args:
            tokens = args[0]
            if isinstance(tokens, self.watch.torch.Tensor) and is_sequence(self.watch.torch, tokens):
                self._embedded.append(tokens.detach())

    def _loss(self, call: Call, loss: ClassLoss) -> None:
        if loss.site is None or not self.compared.wanted((call.place.key, loss.site)):
            return
        embedded = [one for one in self._embedded if not self.watch.would_wait(one)]
        inside = [("what it embeds", tokens) for tokens in embedded]
        for name, given, target in self.losses.beside(call, loss, inside):
            if given.dim() != 2 or (embedded and not any(given is one for one in embedded)):
                continue  # labels, for example, which the network is given for its loss alone
            start = self._start(call, loss, given, target)
            shares = None if start is None else self._shares(given, target, loss, start)
            if shares is not None:
                self._note((type(call.network).__name__, name, loss.site), shares)

    def _start(self, call: Call, loss: ClassLoss, given: Any, target: Any) -> int | None:
        """The position of the network's output that the first target is held against; None if it is not its output."""
        rows, length = target.shape
        logits = loss.logits if loss.logits.dim() == 2 else loss.logits.transpose(1, -1)
        if logits.shape[-1] * target.numel() != logits.numel():
            return None
        logits = logits.reshape(rows, length, logits.shape[-1])
        for output in floats_in(self.watch.torch, call.output):
            for columns in (False, True):
                laid = laid_out(output.detach(), tuple(given.shape), columns)
                if laid is None or laid.shape[-1] != logits.shape[-1]:
                    continue
                for start in range(laid.shape[1] - length + 1):
                    part = laid[:, start : start + length]
                    if part.equal(logits) or part.log_softmax(-1).allclose(logits, atol=1e-5):
                        return start
        return None

    def _shares(self, given: Any, target: Any, loss: ClassLoss, start: int) -> list[float] | None:
        """Share of the counted targets that are the token so many positions ahead of the output's."""
        found = []
        for offset in OFFSETS:
            tokens = given[:, start + offset :][:, : target.shape[1]]
            asked = target[:, : tokens.shape[1]]
            counted = asked != loss.ignored
            if int(counted.sum()) < LEAST_COUNTED or len(asked[counted].unique()) < LEAST_DIFFERENT:
                return None
            found.append(float((asked == tokens)[counted].double().mean()))
        return found

    def _note(self, key: tuple[str, str, CallSite], shares: list[float]) -> None:
        known = self._seen.get(key)
        same, following, second = shares
        self._seen[key] = TokenOffset(
            network=key[0],
            argument=key[1],
            batches=1 + (known.batches if known is not None else 0),
            same=max(same, known.same if known is not None else 0.0),
            following=max(following, known.following if known is not None else 0.0),
            second=min(second, known.second if known is not None else 1.0),
            where=key[2].location(),
            step=self.watch.iteration,
        )

    def records(self) -> Iterable[Record]:
        """One a loss."""
        return tuple(self._seen.values())
