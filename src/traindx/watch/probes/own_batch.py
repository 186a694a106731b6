"""Does a step lower the loss of its own batch, and would a longer one lower it more?"""

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

LARGEST = 20_000_000  # weights of a network of which a second copy is kept until the step was taken
HARDLY = 1e-3  # of the loss; where a step changes it by more, nobody asks whether the step is too short
FACTORS = (10.0, 100.0, 1000.0)


class OwnBatch(Probe):
    """Repeats a call and its loss after the step that it led to, and after longer ones where it hardly did anything."""

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
        self._calls: list[tuple[Captured, Any, dict[str, Any]]] = []
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
        network = captured.twin()
        output = self._repeat(captured, network)
        wanted = [one.detach() for one in tensors_of(self.watch.torch, captured.call.output)]
        same = len(output) == len(wanted) and all(
            a.shape == b.shape and bool(self.watch.torch.allclose(a, b, rtol=1e-4, atol=1e-6))
            for a, b in zip(output, wanted, strict=True)
        )
        if same:
            weights = dict(named_parameters(network))
            small = sum(one.numel() for one in weights.values()) <= LARGEST
            self._calls.append((captured, wanted, weights if small else {}))

    def _repeat(self, captured: Captured, network: Any = None) -> list[Any]:
        return list(tensors_of(self.watch.torch, captured.again(network=network)))

    def end(self) -> None:
        """The step was taken."""
        for captured, old, weights in self._calls:
            path = next((path for path in self.paths.paths if self._leads_from(path, old)), None)
            stepped = [one for one in self.optimisers.order if one.steps > self._steps_before.get(id(one), 0)]
            if path is not None and len(stepped) == 1 and self.captured.affordable(captured.seconds):
                with self.captured.spending(self):
                    self._compare(captured, old, weights, path, stepped[0])
        self._calls = []

    def _leads_from(self, path: Path, outputs: list[Any]) -> bool:
        return any(source.value.data_ptr() == one.data_ptr() for source in path.sources for one in outputs)

    def _compare(
        self, captured: Captured, old: list[Any], weights: dict[str, Any], path: Path, tracked: Tracked
    ) -> None:
        torch = self.watch.torch
        replaced = _replaced(path, old, self._repeat(captured))
        moved = 0.0
        for source in path.sources:
            if source.number in replaced:
                spread = max(float(sample(source.value).std(unbiased=False)), 1e-12)
                change = float((sample(replaced[source.number]) - sample(source.value)).square().mean().sqrt())
                moved = max(moved, change / spread)
        after = path.loss(replaced)
        optimizer = tracked.reference()
        network = unwrapped(torch, captured.call.network)
        mine = {id(parameter) for _, parameter in named_parameters(network)}
        held = [p for group in optimizer.param_groups for p in group["params"]] if optimizer is not None else []
        single = len(self._calls) == 1 and self.backwards.in_iteration == 1
        hardly = single and abs(after - path.value) <= HARDLY * abs(path.value)
        self.watch.sink.event(
            StepProbed(
                network=type(network).__name__,
                optimizer=tracked.name,
                made=tracked.made.location() if tracked.made is not None else None,
                lr=max(tracked.lrs, default=0.0),
                before=path.value,
                after=after,
                moved=moved,
                farther=self._farther(captured, old, weights, path) if hardly else (),
                owns=any(id(parameter) in mine for parameter in held),
                alone=single and len(self.optimisers.order) == 1,
                where=path.site.location(),
                step=self.watch.iteration,
            )
        )

    def _farther(self, captured: Captured, old: list[Any], weights: dict[str, Any], path: Path) -> tuple[float, ...]:
        """Loss of the batch had the step been longer by each of ``FACTORS``; () if the weights before are unknown."""
        losses = []
        for factor in FACTORS if weights else ():
            network = captured.twin()
            with self.watch.torch.no_grad():
                for name, parameter in named_parameters(network):
                    if name in weights:
                        parameter.add_(parameter - weights[name], alpha=factor - 1)
            losses.append(path.loss(_replaced(path, old, self._repeat(captured, network))))
        return tuple(losses)


def _replaced(path: Path, old: list[Any], new: list[Any]) -> dict[Any, Any]:
    """By the number of a path's source, the output that is put in its place."""
    return {
        source.number: after
        for source in path.sources
        for before, after in zip(old, new, strict=False)
        if source.value.data_ptr() == before.data_ptr() and source.value.shape == after.shape
    }
