"""What a check is: a small experiment on a case with a known right answer, that writes evidence and judges nothing.

A check lives in one file and is a function ``(CheckContext) -> None`` marked with :func:`check`. It names the parts
of the case it needs; where one is missing the check is listed as *not examined*. A check that raises is listed the
same way, with the user's file and line, and never stops the examination.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from traindx.core.batches import to_device
from traindx.evidence import Evidence, Record

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case

Phase = Literal["before", "after"]
T = TypeVar("T")


@dataclass
class CheckContext:
    """What a check is given: the case, a place for evidence, and models and batches made once and shared.

    Attributes:
        case: The case under examination (its contexts are already entered).
        evidence: Where records go.
        seed: Seed of everything random in the checks.
        trained: The model after training, for checks of phase ``after``; None before.
        initial_seed: Seed of the weights that the trained model began with; the context's own seed where it is None.
    """

    case: Case
    evidence: Evidence
    seed: int = 0
    trained: nn.Module | None = None
    initial_seed: int | None = None
    _batches: dict[str, list[Any]] = field(default_factory=dict)
    _shared: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """The result of an expensive step, made at the first call and shared by the checks that follow."""
        if name not in self._shared:
            self._shared[name] = make()
        shared: T = self._shared[name]
        return shared

    def record(self, record: Record) -> None:
        """Append a record to the evidence."""
        self.evidence.add(record)

    def fresh_model(self) -> nn.Module:
        """A newly initialised model on the case's device, from this seed; the global RNG is left as it was."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return self.case.model().to(self.case.device)

    def initial_model(self) -> nn.Module:
        """The trained model as it was before the first step; the global RNG is left as it was."""
        from traindx.core.undisturbed import undisturbed

        if self.initial_seed is None:
            return self.fresh_model()
        with undisturbed(self.initial_seed):
            return self.case.model().to(self.case.device)

    def batches(self, count: int = 1, split: Literal["train", "val"] = "train") -> list[Any]:
        """The first batches of a split on the case's device, read once and shared by all checks.

        A loader that shuffles is seeded, so that an examination can be repeated; the global RNG is left as it was.
        """
        from traindx.core.undisturbed import undisturbed

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
class Check:
    """A check of the catalogue.

    Attributes:
        name: Kebab-case name, stable.
        title: One line for progress bars and the *not examined* list.
        needs: Parts of the case, dotted (``diffusion.sample``).
        phase: ``before`` training, or ``after`` with a trained model.
        gives: Record types it may write, so that a rule without evidence can name the part that is missing.
        function: The experiment.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    phase: Phase
    gives: tuple[type[Record], ...]
    function: Callable[[CheckContext], None]

    def missing(self, case: Case) -> tuple[str, ...]:
        """Parts of the case that this check needs and that are not there."""
        return tuple(part for part in self.needs if not case.has(part))


def check(
    name: str,
    title: str,
    *,
    needs: tuple[str, ...],
    phase: Phase = "before",
    gives: tuple[type[Record], ...] = (),
) -> Callable[[Callable[[CheckContext], None]], Check]:
    """Turn a function into an :class:`Check`."""

    def decorate(function: Callable[[CheckContext], None]) -> Check:
        return Check(name, title, needs, phase, gives, function)

    return decorate
