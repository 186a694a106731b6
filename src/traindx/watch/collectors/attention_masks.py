"""Attention that the script writes itself: do its scores hide the padding of the sequences that the network reads?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from traindx.evidence.base import Record
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.collectors.torch_calls import TorchCalls, named_functions
from traindx.watch.contracts.attention import (
    INVERTED,
    PADDING,
    hidden_by_mask,
    hidden_by_padding_mask,
    hidden_by_scores,
    judged,
    padding_of,
)
from traindx.watch.contracts.base import Tally, bound
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.watch import Collector, Watch

SOFTMAX = "softmax"
FILLS = ("masked_fill", "where")
OF_SOFTMAX = ("input", "dim")
OF_SDPA = ("query", "key", "value", "attn_mask")
OF_LAYERS = {
    "MultiheadAttention": ("query", "key", "value", "key_padding_mask"),
    "TransformerEncoderLayer": ("src", "src_mask", "src_key_padding_mask"),
    "TransformerEncoder": ("src", "mask", "src_key_padding_mask"),
}
OF_PADDING = ("key_padding_mask", "src_key_padding_mask")


class AttentionMasks(Collector):
    """Looks at what is given to a softmax, or to ``scaled_dot_product_attention``, while a network reads sequences."""

    subject = "masks of attention"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.tally = Tally()
        self._padding: list[Any] = []
        self._looks = False
        self.bursts = Bursts(6, 1.5)
        self._filled: Any = watch.weak_table()
        layers = watch.torch.nn
        self._of_torch = tuple(getattr(layers, name) for name in (*OF_LAYERS, "TransformerDecoderLayer"))

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self.networks.on_begin(self, self._begins)
        self.networks.on_ended(self, self._ended)
        self.calls.on(self, named_functions(torch, (SOFTMAX,)), self._softmax)
        self.calls.on(self, named_functions(torch, FILLS), self._fill)
        self.calls.on(self, {torch.nn.functional.scaled_dot_product_attention: "sdpa"}, self._sdpa)

    def begin(self) -> None:
        """Sequences of an earlier iteration mean nothing any more."""
        self._padding = []
        self._filled.clear()

    # -- sequences -------------------------------------------------------------------------------------------------

    def _begins(self, call: Call, args: tuple[Any, ...]) -> None:
        self._padding = []
        self._filled.clear()
        self._looks = self.watch.looking and self.bursts.wanted(call.site)
        for value in args[:4] if self._looks else ():
            self._note(value)

    def _ended(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if not self._looks:
            return
        if isinstance(module, self.watch.torch.nn.Embedding) and args and self.networks.depth:
            self._note(args[0])
        elif isinstance(module, self._of_torch) and self._padding and not self._in_a_layer_of_torch():
            self._layer(module, args, kwargs)

    def _layer(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A layer of torch's, which is told what is padding: True is hidden."""
        kind = next((name for name in OF_LAYERS if isinstance(module, getattr(self.watch.torch.nn, name))), "")
        named = bound(OF_LAYERS.get(kind, ()), args, kwargs)
        mask = next((named[name] for name in OF_PADDING if isinstance(named.get(name), self.watch.torch.Tensor)), None)
        site = here()
        if mask is None or site is None or mask.dim() != 2 or self.watch.would_wait(mask):
            return
        if not self.tally.wanted(PADDING, site):
            return
        hidden = hidden_by_padding_mask(mask)
        for padding in self._padding:
            said = judged(self.watch.torch, hidden, padding).get(INVERTED)
            self.tally.add(PADDING, type(module).__name__, site, said, self.networks.made.get(module))

    def _note(self, sequences: Any) -> None:
        torch = self.watch.torch
        if not isinstance(sequences, torch.Tensor) or len(self._padding) >= 4 or self.watch.would_wait(sequences):
            return
        if sequences.dtype is torch.bool or sequences.numel() > 4_000_000:
            return
        padding = padding_of(torch, sequences)
        if padding is not None and not any(torch.equal(padding, one) for one in self._padding):
            self._padding.append(padding)

    # -- scores ----------------------------------------------------------------------------------------------------

    @property
    def _reads(self) -> bool:
        """A network reads padded sequences, and it is not a layer of torch's that is at work."""
        return bool(self._padding) and bool(self.networks.depth) and not self._in_a_layer_of_torch()

    def _in_a_layer_of_torch(self) -> bool:
        return any(isinstance(one, self._of_torch) for one in self.networks.stack)

    def _fill(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        if not self._reads:
            return None

        def filled(out: Any) -> None:
            site = here()
            if site is not None and isinstance(out, self.watch.torch.Tensor):
                self._filled[out] = site

        return filled

    def _softmax(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._reads:
            return
        named = bound(OF_SOFTMAX, args, kwargs)
        scores, axis = named.get("input", named.get("self")), named.get("dim")
        if isinstance(scores, self.watch.torch.Tensor) and isinstance(axis, int) and not self.watch.would_wait(scores):
            self._look(name, self._filled.get(scores), lambda: hidden_by_scores(scores, axis))

    def _sdpa(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._reads:
            return
        named = bound(OF_SDPA, args, kwargs)
        query, key, mask = (named.get(one) for one in ("query", "key", "attn_mask"))
        tensor = self.watch.torch.Tensor
        if not all(isinstance(one, tensor) for one in (query, key, mask)) or self.watch.would_wait(mask):
            return
        sizes = int(query.shape[-2]), int(key.shape[-2])  # type: ignore[union-attr]
        self._look("scaled_dot_product_attention", None, lambda: hidden_by_mask(self.watch.torch, mask, *sizes))

    def _look(self, name: str, filled: CallSite | None, hidden: Callable[[], Any]) -> None:
        site = filled or here()
        if site is None or not self.tally.wanted(INVERTED, site):
            return
        found = hidden()
        for padding in self._padding:
            for contract, said in judged(self.watch.torch, found, padding).items():
                self.tally.add(contract, name, site, said)

    def records(self) -> Iterable[Record]:
        """One record a contract and line."""
        yield from self.tally.records(self.watch)
