"""What treatments may use of the arm that they act in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from traindx.watch.interventions.places import Makers
    from traindx.watch.interventions.seeding import Seeding
    from traindx.watch.runtime.call_sites import CallSite
    from traindx.watch.runtime.patching import Patches


class Arm(Protocol):
    """An arm of a paired run in the script's process; :class:`~traindx.watch.interventions.run.Variant` is the one.

    Attributes:
        torch: The torch module of the script.
        patches: Where patches are made, so that they can be undone.
        makers: Which line made a module.
        modes: Calls in another mode (:class:`~traindx.watch.interventions.modes.Modes`).
        outputs: Outputs of networks (:class:`~traindx.watch.interventions.outputs.Outputs`).
        seeding: The seeds of this arm.
        iteration: Optimiser iterations completed.
        depth: Networks that are running now, one in the other.
        inside: Code of ours or of a treatment runs.
        over: The window ended.
        evaluating: The outermost network runs without gradients.
        made: Weak references to all optimisers.
        root: The outermost network that runs.
        overlay: Changed sources (:class:`~traindx.watch.runtime.edits.Overlay`).
        hook_ids: Our hooks on all modules.
        before_backward: Called with what a backward pass begins at, and the line.
        entering: Called with a network and its arguments; may return others.
        leaving: Called with a network and its output; may return another.
    """

    torch: Any
    patches: Patches
    makers: Makers
    modes: Any
    outputs: Any
    seeding: Seeding
    iteration: int
    depth: int
    inside: bool
    over: bool
    evaluating: bool
    made: list[Any]
    root: Any
    overlay: Any
    hook_ids: tuple[int, ...]
    before_backward: list[Callable[[Any, CallSite | None], None]]
    entering: list[Callable[[Any, tuple[Any, ...]], tuple[Any, ...] | None]]
    leaving: list[Callable[[Any, Any], Any]]

    @property
    def ours(self) -> bool:
        """The script's own process and thread, while the window is open."""

    def enters(self, module: Any, args: tuple[Any, ...]) -> Any:
        """A network is called."""

    def leaves(self, module: Any, args: tuple[Any, ...], output: Any) -> Any:
        """A network returns."""

    def failed(self, treatment: Any, error: Exception) -> None:
        """A treatment raised, so the arm says nothing."""
