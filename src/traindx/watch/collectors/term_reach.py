"""Which weights each term of a loss reaches, and whether a step ever uses what it gives them.

A term may have a gradient and teach nothing: it reaches only weights that the step after it does not
move. A generator's score of a detached image reaches the discriminator, whose gradients are cleared before its step.
Only the graph is looked at, so a term that happens to be satisfied is none that reaches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_loss import TermReachSeen
from traindx.watch.collectors.backwards import Backward
from traindx.watch.collectors.loss_terms import LossTerms, Term
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.nonfinite import graph_nodes
from traindx.watch.collectors.optimisers import Optimisers, Tracked, common_prefix
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.watch import Collector, Watch


@dataclass
class _Waiting:
    """A term of one backward pass, until a step uses it or its gradients are gone.

    Attributes:
        reached: Indices of the optimisers that hold weights it reaches, with the steps they had made.
        others: The same of the optimisers that the rest of the loss reaches.
        there: Those of ``reached`` whose gradients have not been cleared since.
    """

    term: Term
    reached: dict[int, int]
    others: dict[int, int]
    there: set[int]


@dataclass
class _Reach:
    term: Term
    used: int = 0
    unused: int = 0
    held: bool = False
    weights: str = ""


class TermReach(Collector):
    """Follows every term of a loss to the weights below it, in iterations that are watched in full."""

    subject = "weights that loss terms reach"

    def __init__(self, watch: Watch, terms: LossTerms, optimisers: Optimisers, networks: Networks) -> None:
        super().__init__(watch)
        self.terms = terms
        self.optimisers = optimisers
        self.networks = networks
        self._known: dict[int, _Reach] = {}
        self._waiting: list[_Waiting] = []

    def install(self) -> None:
        """Subscribe."""
        self.terms.on_terms(self, self._look)
        self.optimisers.on_cleared(self, self._cleared)

    def _look(self, call: Backward, terms: list[tuple[Term, list[Any]]]) -> None:
        if self.watch.level is not ObservationLevel.FULL or len(terms) < 2:
            return
        self._settle()
        below = [weights_below(nodes) for _, nodes in terms]
        owners = self._owners()
        if any(weights is None for weights in below):
            return  # something that is no weight is learned too: what becomes of it is not known
        reached = [{owner for weight in one or () for owner in owners.get(id(weight), {-1})} for one in below]
        for (term, _), weights, mine in zip(terms, below, reached, strict=True):
            rest = {owner for one in reached if one is not mine for owner in one} - {-1}
            if not mine or not rest or weights is None:
                continue
            known = self._known.setdefault(id(term), _Reach(term))
            known.held = known.held or mine != {-1}
            known.weights = common_prefix([str(self.networks.names.get(weight, "")) for weight in weights])
            steps = {index: self.optimisers.order[index].steps for index in mine | rest if index >= 0}
            self._waiting.append(
                _Waiting(
                    term,
                    {index: steps[index] for index in mine if index >= 0},
                    {index: steps[index] for index in rest if index not in mine},
                    {index for index in mine if index >= 0},
                )
            )

    def _owners(self) -> dict[int, set[int]]:
        """The optimisers that hold each weight."""
        owners: dict[int, set[int]] = {}
        for index, tracked in enumerate(self.optimisers.order):
            optimizer = tracked.reference()
            for group in optimizer.param_groups if optimizer is not None else ():
                for weight in group["params"]:
                    owners.setdefault(id(weight), set()).add(index)
        return owners

    def _cleared(self, tracked: Tracked) -> None:
        """Gradients of one optimiser are cleared."""
        for index, one in enumerate(self.optimisers.order):
            if one is tracked:
                for waiting in self._waiting:
                    waiting.there.discard(index)
        self._settle()

    def _settle(self) -> None:
        """Which of those that wait were used, and which never will be?"""
        order, still = self.optimisers.order, []
        for waiting in self._waiting:
            if any(order[index].steps > steps for index, steps in waiting.reached.items()):
                self._known[id(waiting.term)].used += 1
            elif waiting.there or not any(order[index].steps > steps for index, steps in waiting.others.items()):
                still.append(waiting)
            else:
                self._known[id(waiting.term)].unused += 1
        self._waiting = still[-64:]

    def end(self) -> None:
        """Settle what no clearing of gradients will."""
        self._settle()

    def records(self) -> Iterable[Record]:
        """One record a term."""
        for known in self._known.values():
            if known.used + known.unused:
                place = known.term.origin or known.term.join or known.term.backward
                yield TermReachSeen(
                    name=known.term.name,
                    where=self.watch.shown(place),
                    used=known.used,
                    unused=known.unused,
                    held=known.held,
                    weights=known.weights,
                    step=self.watch.iteration,
                )


def weights_below(nodes: list[Any]) -> list[Any] | None:
    """The leaves that the graph under some nodes ends in; None if one of them is no parameter."""
    found: dict[int, Any] = {}
    for root in nodes:
        for node in graph_nodes(root):
            for child, _ in node.next_functions:
                leaf = getattr(child, "variable", None)
                if leaf is not None:
                    if not getattr(leaf, "_is_param", False) and type(leaf).__name__ != "Parameter":
                        return None
                    found[id(leaf)] = leaf
    return list(found.values())
