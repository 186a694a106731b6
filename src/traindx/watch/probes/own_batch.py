"""Does a step lower the loss of its own batch?"""

from __future__ import annotations

from typing import Any, ClassVar

from traindx.evidence.probed import StepProbed
from traindx.watch.collectors.backwards import Backwards
from traindx.watch.collectors.networks import Call
from traindx.watch.collectors.optimisers import Optimisers, Tracked
from traindx.watch.probes.base import Probe
from traindx.watch.probes.captured import Captured, CapturedCalls
from traindx.watch.probes.isolation import unwrapped
from traindx.watch.probes.loss_path import LossPaths, Path
from traindx.watch.probes.tracing import tensors_of
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.structure import named_parameters
from traindx.watch.runtime.watch import Watch


class OwnBatch(Probe):
    """Repeats a call and its loss after the step that it led to."""

    subject = "the loss of the same batch after a step"
    forwards: ClassVar[int] = 2
    dense: ClassVar[int] = 3
    ratio: ClassVar[float] = 2.0

    def __init__(
        self,
        watch: Watch,
        captured: CapturedCalls,
        paths: LossPaths,
        optimisers: Optimisers,
        backwards: Backwards,
    ) -> None:
        super().__init__(watch, captured)
        self.paths = paths
        self.optimisers = optimisers
        self.backwards = backwards
        self._calls: list[tuple[Captured, Any]] = []
        self._steps_before: dict[int, int] = {}

    def wants(self, call: Call) -> bool:
        """From the first iteration on: a step that is too large is so at once."""
        return call.grad and self.watch.level is ObservationLevel.FULL and self.bursts.wanted(call.place.key)

    def begin(self) -> None:
        """A new iteration."""
        self._calls = []
        self._steps_before = {id(tracked): tracked.steps for tracked in self.optimisers.order}

    def look(self, captured: Captured) -> None:
        """Can this call be repeated at all? Kept until the step if so."""
        output = self._repeat(captured)
        wanted = [one.detach() for one in tensors_of(self.watch.torch, captured.call.output)]
        same = len(output) == len(wanted) and all(
            a.shape == b.shape and bool(self.watch.torch.allclose(a, b, rtol=1e-4, atol=1e-6))
            for a, b in zip(output, wanted, strict=True)
        )
        if same:
            self._calls.append((captured, wanted))

    def _repeat(self, captured: Captured) -> list[Any]:
        return list(tensors_of(self.watch.torch, captured.again()))

    def end(self) -> None:
        """The step was taken."""
        for captured, old in self._calls:
            path = next((path for path in self.paths.paths if self._leads_from(path, old)), None)
            stepped = [one for one in self.optimisers.order if one.steps > self._steps_before.get(id(one), 0)]
            if path is not None and len(stepped) == 1 and self.captured.affordable(captured.seconds):
                with self.captured.spending(self):
                    self._compare(captured, old, path, stepped[0])
        self._calls = []

    def _leads_from(self, path: Path, outputs: list[Any]) -> bool:
        return any(source.value.data_ptr() == one.data_ptr() for source in path.sources for one in outputs)

    def _compare(self, captured: Captured, old: list[Any], path: Path, tracked: Tracked) -> None:
        torch = self.watch.torch
        new = self._repeat(captured)
        replaced, moved = {}, 0.0
        for source in path.sources:
            for before, after in zip(old, new, strict=False):
                if source.value.data_ptr() == before.data_ptr() and source.value.shape == after.shape:
                    replaced[source.number] = after
                    spread = max(float(sample(before).std(unbiased=False)), 1e-12)
                    change = float((sample(after) - sample(before)).square().mean().sqrt())
                    moved = max(moved, change / spread)
        optimizer = tracked.reference()
        network = unwrapped(torch, captured.call.network)
        mine = {id(parameter) for _, parameter in named_parameters(network)}
        held = [p for group in optimizer.param_groups for p in group["params"]] if optimizer is not None else []
        self.watch.sink.event(
            StepProbed(
                network=type(network).__name__,
                optimizer=tracked.name,
                made=tracked.made.location() if tracked.made is not None else None,
                lr=max(tracked.lrs, default=0.0),
                before=path.value,
                after=path.loss(replaced),
                moved=moved,
                owns=any(id(parameter) in mine for parameter in held),
                alone=len(self._calls) == 1 and self.backwards.in_iteration == 1 and len(self.optimisers.order) == 1,
                where=path.site.location(),
                step=self.watch.iteration,
            )
        )
