"""What all treatments of a running script share: a name, a place, a count of what they did, and a way to refuse.

The treatments themselves are named by the parent, so that nothing here knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from traindx.watch.interventions.places import Place
from traindx.watch.runtime.call_sites import here
from traindx.watch.runtime.structure import named_parameters

if TYPE_CHECKING:
    from traindx.watch.interventions.arm import Arm


class RuntimeTreatment:
    """A change of a running script, applied from outside at a line of its source and nowhere else.

    Attributes:
        key: Name in the design of the trial.
        place: Line it is for.
        hits: How often it acted with gradients enabled.
        evaluations: How often it changed something while gradients were disabled, outside of what is trained.
        within: The same inside a network that is trained: that is another network, and no other figure.
        refused: Why it does not apply, or empty.
    """

    def __init__(self, fields: Mapping[str, Any], arm: Arm) -> None:
        self.fields = dict(fields)
        self.arm = arm
        self.key = str(fields.get("key") or fields["treatment"])
        self.place = Place(str(fields.get("file", "")), int(fields.get("line", 0)))
        self.hits = self.evaluations = self.within = 0
        self.refused = ""

    def install(self) -> None:
        """Subscribe or patch; torch is there."""
        raise NotImplementedError

    def safe(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A callback that cannot fail the script: what it raises refuses the treatment."""

        def guarded(*args: Any) -> Any:
            if self.refused:
                return None
            try:
                return function(*args)
            except Exception as error:
                self.arm.failed(self, error)
                return None

        return guarded

    def finish(self) -> None:
        """The arm ends."""

    def refuse(self, why: str) -> None:
        """Say once why nothing can be done here; the arm is then not a trial of this treatment."""
        self.refused = self.refused or why

    @property
    def here(self) -> bool:
        """True if the torch call being handled is that of the place: its own line, or its library module's."""
        if self.place.holds(here(2)):
            return True
        made = self.arm.modes.library_maker()
        return made is not None and self.place.holds(made)

    def acted(self, old: Any = None, new: Any = None) -> None:
        """Count; of what is done without gradients only what changes a value counts."""
        torch = self.arm.torch
        if torch.is_grad_enabled():
            self.hits += 1
        elif old is None or new is None or not torch.equal(old, new):
            if self._in_trained_network():
                self.within += 1
            else:
                self.evaluations += 1
            self.arm.outputs.digest.mark(self.key)  # what was predicted is not what it was

    def _in_trained_network(self) -> bool:
        """True if a network runs of which something is trained; a frozen one may be a part of the figure."""
        root = self.arm.root if self.arm.depth else None
        return root is not None and any(one.requires_grad for _, one in named_parameters(root))

    def report(self) -> dict[str, Any]:
        """As JSON."""
        counts = {"hits": self.hits, "evaluations": self.evaluations, "within": self.within}
        return {"key": self.key, **counts, "refused": self.refused}


def build(fields: Mapping[str, Any], arm: Arm) -> RuntimeTreatment:
    """The treatment that some fields describe; ``script`` names its class as ``module:class``."""
    module, _, name = str(fields["script"]).partition(":")
    made: RuntimeTreatment = getattr(import_module(module), name)(fields, arm)
    return made
