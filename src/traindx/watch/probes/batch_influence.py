"""Does what a network gives for one sample in evaluation depend on the other samples of its batch?"""

from __future__ import annotations

from typing import Any, ClassVar

from traindx.evidence.probed import BatchProbed
from traindx.watch.probes.base import Probe
from traindx.watch.probes.captured import Captured, tensor_arguments
from traindx.watch.probes.own_draws import drawn_by
from traindx.watch.probes.tracing import Operation, all_same, floats_in, in_step, traced
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.source_text import line_text
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.structure import named_modules


class BatchInfluence(Probe):
    """Makes an evaluation call again with the first sample in the place of all others."""

    subject = "samples that depend on their batch"
    forwards: ClassVar[int] = 4
    training: ClassVar[bool] = False
    evaluation: ClassVar[bool] = True
    dense: ClassVar[int] = 2

    def look(self, captured: Captured) -> None:
        """Compare what is given for the first sample."""
        torch, call = self.watch.torch, captured.call
        if call.network.training or any(module.training for _, module in named_modules(call.network)):
            return
        size = next((len(one) for _, one, _ in tensor_arguments(torch, call) if one.dim() > 1), 0)
        if size < 2:
            return

        def first(one: Any) -> Any:
            return one[0] if one.dim() and len(one) == size else one

        def alike(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.dim() and len(value) == size:
                return value[:1].expand(value.shape).clone()
            if type(value) in (list, tuple):
                return type(value)(alike(one) for one in value)
            return {key: alike(one) for key, one in value.items()} if type(value) is dict else value

        args, kwargs, twins = alike(call.args), alike(call.kwargs), (captured.twin(), captured.twin())
        with traced(torch, first) as one:
            own = self._given(captured, first, size, call.args, call.kwargs, twins[0])
        with traced(torch, first) as two:
            other = self._given(captured, first, size, args, kwargs, twins[1])
        if own is None or other is None or own.shape != other.shape:
            return
        spread = max(float(own.std(unbiased=False)), 1e-3 * float(own.abs().mean()), 1e-12)
        difference = float((own - other).square().mean().sqrt()) / spread
        mixed = next((a for a, b in in_step(one, two) if self._mixes(a, b)), None) if difference > 0 else None
        site = mixed.site if mixed is not None else None
        module = mixed.module if mixed is not None else None
        who = drawn_by(torch, twins[0], site, None)
        text = line_text(site) if site is not None else ""
        self.watch.sink.event(
            BatchProbed(
                network=type(call.network).__name__,
                samples=size,
                difference=difference,
                function=mixed.name if mixed is not None else "",
                owner=who.get("owner", ""),
                own=module is None or users(_file_of(module)),
                standardises="mean" in text and ("std" in text or "var" in text),
                mixed_at=site.location() if site is not None else None,
                where=call.site.location() if call.site.file else None,
                step=self.watch.iteration,
            )
        )

    def _given(self, captured: Captured, first: Any, size: int, args: Any, kwargs: Any, network: Any) -> Any:
        outputs = list(floats_in(self.watch.torch, captured.again(args, kwargs, network=network, seed=1)))[:8]
        lengths = [len(one) for one in outputs if one.dim()]
        if lengths and (lengths[0] != size or 1 in lengths):
            return None  # the rows are parts of one sample, as the instances of a bag
        outputs = [one for one in outputs if one.dim() and len(one) == size]
        return self.watch.torch.cat([sample(first(one), 65536) for one in outputs]) if outputs else None

    def _mixes(self, one: Operation, other: Operation) -> bool:
        torch = self.watch.torch
        return all_same(torch, one.taken, other.taken) and not _near(torch, one.given, other.given)


def _near(torch: Any, one: list[Any], other: list[Any]) -> bool:
    """Equal up to what another order of the same sums makes of it."""
    return len(one) == len(other) and all(
        a.shape == b.shape and bool(torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5, equal_nan=True))
        for a, b in zip(one, other, strict=True)
    )


def _file_of(module: Any) -> str:
    import sys

    return str(getattr(sys.modules.get(type(module).__module__), "__file__", None) or "")
