"""``reweight-term``, ``drop-term``, ``flip-term``: the gradient of one operand of a loss is scaled, cut or turned.

The loss's own value is left as it is, so what the script prints keeps its meaning; what changes is what arrives at the
parameters, exactly as if the operand were multiplied in the source. The operand is found again as the watching found
it: by following the scalar arithmetic down from the loss that ``backward`` is called on.
"""

from __future__ import annotations

from typing import Any

from traindx.core import compat
from traindx.core.metric_names import words
from traindx.watch.collectors.loss_terms import Leaf, Note, Walk, term_name
from traindx.watch.interventions.treatment import RuntimeTreatment
from traindx.watch.runtime.call_sites import CallSite, stack
from traindx.watch.runtime.source_text import assigned_name


class Term(RuntimeTreatment):
    """``term``: its name as it was reported; ``factor``: None cuts it off; ``alike``: the words of ``term`` suffice."""

    def __init__(self, fields: Any, arm: Any) -> None:
        super().__init__(fields, arm)
        self.notes: dict[int, Note] = {}
        self._total = ""
        self.known: dict[str, None] = {}
        self.factor = {"drop-term": None, "flip-term": -1.0}.get(
            str(fields["treatment"]), float(fields.get("factor", 0.01))
        )

    def install(self) -> None:
        """Remember the line of every scalar, and look before every backward pass."""
        self.arm.modes.on_scalars(self, self._scalar)
        self.arm.before_backward.append(self.safe(self._look))

    def _scalar(self, function: Any, out: Any) -> None:
        if out.grad_fn is not None:
            if len(self.notes) > 100_000:
                self.notes.clear()
            note = Note(stack(2, 4), getattr(function, "__name__", ""), None)
            self.notes[compat.number(out.grad_fn)] = note

    def _look(self, root: Any, site: CallSite | None) -> None:
        if root.grad_fn is None or site is None or self.refused:
            return
        self._total = assigned_name(note.sites[0]) if (note := self.notes.get(compat.number(root.grad_fn))) else ""
        walk = Walk(self.notes)
        walk.down(Leaf(root.grad_fn, 0, 1.0, None))
        if len(walk.leaves) > 1 or self.factor is not None:
            nodes = {id(leaf.node): leaf.node for leaf in walk.leaves if self._is_it(leaf, site)}
            rest = [leaf for leaf in walk.leaves if id(leaf.node) not in nodes]
            if nodes and not rest and self.factor is None:
                self.refuse("it is the only term, so dropping it leaves nothing to learn from")
                return
            for node in nodes.values():
                node.register_prehook(self._scale)
                self.hits += 1
        self.notes.clear()

    def _is_it(self, leaf: Leaf, backward: CallSite) -> bool:
        note = self.notes.get(leaf.sequence)
        function = note.function if note is not None else leaf.node.name().removesuffix("Backward0")
        name = term_name(note, leaf, backward, self._total) or function
        origin = note.sites[0] if note is not None and note.sites else None
        lined = not self.place.line or self.place.holds(leaf.join or origin)
        self.known[name] = None
        if self.fields.get("alike"):
            return set(words(str(self.fields["term"]))) <= set(words(name)) and lined
        return name == self.fields["term"] and lined

    def finish(self) -> None:
        """Name what there is, where what was named is not among it."""
        if self.fields.get("alike") and not self.hits and not self.refused:
            there = ", ".join(list(self.known)[:8]) or "no term that could be told apart"
            self.refuse(f"no term of the loss is called {self.fields['term']!r}; there is {there}")

    def _scale(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        factor = self.factor
        if factor is None:
            return tuple(None for _ in gradients)
        return tuple(None if gradient is None else gradient * factor for gradient in gradients)
