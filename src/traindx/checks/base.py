"""What an exam is: a small experiment on a case with a known right answer, that writes evidence and judges nothing.

An exam lives in one file and is a function ``(ExamRoom) -> None`` marked with :func:`exam`. It names the parts of the
case it needs; where one is missing the exam is listed as *not examined*. An exam that raises is listed the same way,
with the user's file and line, and never stops the examination.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from traindx.evidence import Evidence, Record

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case

Phase = Literal["before", "after"]
T = TypeVar("T")


@dataclass
class ExamRoom:
    """What an exam is given: the case, a place for evidence, and models and batches made once and shared.

    Attributes:
        case: The case under examination (its contexts are already entered).
        evidence: Where records go.
        seed: Seed of everything random in the exams.
        trained: The model after training, for exams of phase ``after``; None before.
        initial_seed: Seed of the weights that the trained model began with; the room's own seed where it is None.
    """

    case: Case
    evidence: Evidence
    seed: int = 0
    trained: nn.Module | None = None
    initial_seed: int | None = None
    _batches: dict[str, list[Any]] = field(default_factory=dict)
    _shared: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """The result of an expensive step, made at the first call and shared by the exams that follow."""
        if name not in self._shared:
            self._shared[name] = make()
        shared: T = self._shared[name]
        return shared

    def record(self, record: Record) -> None:
        """Append a record to the evidence."""
        self.evidence.add(record)

    def fresh_model(self) -> nn.Module:
        """A newly initialised model on the case's device, from this room's seed; the global RNG is left as it was."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return self.case.model().to(self.case.device)

    def initial_model(self) -> nn.Module:
        """The trained model as it was before the first step; the global RNG is left as it was."""
        from traindx.checks.probing import undisturbed

        if self.initial_seed is None:
            return self.fresh_model()
        with undisturbed(self.initial_seed):
            return self.case.model().to(self.case.device)

    def batches(self, count: int = 1, split: Literal["train", "val"] = "train") -> list[Any]:
        """The first batches of a split on the case's device, read once and shared by all exams.

        A loader that shuffles is seeded, so that an examination can be repeated; the global RNG is left as it was.
        """
        from traindx.checks.probing import undisturbed

        known = self._batches.get(split, [])
        if len(known) < count:
            with undisturbed(self.seed):
                known = [to_device(batch, self.case.device) for batch in self.case.first_batches(count, split)]
            self._batches[split] = known
        return known[:count]

    def batch(self, split: Literal["train", "val"] = "train") -> Any:
        """The first batch of a split."""
        return self.batches(1, split)[0]

    def target(self, batch: Any) -> Tensor:
        """The target of a batch, detached."""
        assert self.case.target is not None
        return self.case.target(batch).detach()


@dataclass(frozen=True)
class Exam:
    """An exam of the catalogue.

    Attributes:
        name: Kebab-case name, stable.
        title: One line for progress bars and the *not examined* list.
        needs: Parts of the case, dotted (``diffusion.sample``).
        phase: ``before`` training, or ``after`` with a trained model.
        function: The experiment.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    phase: Phase
    function: Callable[[ExamRoom], None]

    def missing(self, case: Case) -> tuple[str, ...]:
        """Parts of the case that this exam needs and that are not there."""
        return tuple(part for part in self.needs if not case.has(part))


def exam(
    name: str, title: str, *, needs: tuple[str, ...], phase: Phase = "before"
) -> Callable[[Callable[[ExamRoom], None]], Exam]:
    """Turn a function into an :class:`Exam`."""

    def decorate(function: Callable[[ExamRoom], None]) -> Exam:
        return Exam(name, title, needs, phase, function)

    return decorate


def to_device(batch: Any, device: str) -> Any:
    """Move every tensor in nested mappings, lists and tuples to a device."""
    import torch

    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch
