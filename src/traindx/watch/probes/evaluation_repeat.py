"""The same evaluation call twice: does it give the same, and if not, which operation draws?"""

from __future__ import annotations

import ast
from typing import Any, ClassVar

from traindx.evidence.probed import RandomnessProbed
from traindx.watch.probes.base import Probe
from traindx.watch.probes.captured import Captured
from traindx.watch.probes.own_draws import drawn_by, parted_at
from traindx.watch.probes.tracing import DRAWS, Operation, all_same, floats_in, in_step, traced
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.source_text import assigned_at, statement_at
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.structure import named_modules
from traindx.watch.runtime.syntax import walk

UNFILLED = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")  # whatever memory held
MODE_POSITION = 3  # dropout(input, p, training)


class EvaluationRepeat(Probe):
    """Makes a call without gradients again with other random numbers."""

    subject = "randomness in evaluation"
    forwards: ClassVar[int] = 4
    training: ClassVar[bool] = False
    evaluation: ClassVar[bool] = True

    def look(self, captured: Captured) -> None:
        """Compare two runs; where they differ, follow them operation by operation."""
        call = captured.call
        if call.network.training or any(module.training for _, module in named_modules(call.network)):
            return
        torch = self.watch.torch
        twin, other = captured.twin(), captured.twin()
        with traced(torch) as one:
            first = self._numbers(captured, 1, twin)
        with traced(torch) as two:
            second = self._numbers(captured, 2, other)
        spread = max(float(first.std(unbiased=False)), 1e-3 * float(first.abs().mean()), 1e-12)
        alike = first.shape == second.shape
        difference = float((first - second).square().mean().sqrt()) / spread if alike else 1.0
        drawn = next((a for a, b in in_step(one, two) if self._draws(a, b)), None) if difference else None
        place = rate_set_at(drawn) if drawn is not None else None
        name = drawn.name if drawn is not None else ""
        if difference and drawn is None:  # a draw of Python's, by which the two runs went different ways
            name, place = parted_at(one, two)
        drawer = drawn_by(torch, twin, place, drawn.module if drawn is not None else None)
        self.watch.sink.event(
            RandomnessProbed(
                network=type(call.network).__name__,
                difference=difference,
                function=name,
                told=drawn is not None and told_the_mode(drawn),
                drawn_at=place.location() if place is not None else None,
                where=call.site.location() if call.site.file else None,
                step=self.watch.iteration,
                **drawer,
            )
        )

    def _numbers(self, captured: Captured, seed: int, twin: Any) -> Any:
        outputs = list(floats_in(self.watch.torch, captured.again(seed=seed, network=twin)))[:8]
        return self.watch.torch.cat([sample(one, 65536) for one in outputs]) if outputs else self.watch.torch.zeros(1)

    def _draws(self, one: Operation, other: Operation) -> bool:
        """It gives two things; from the same, if what it takes is more than memory to be filled."""
        torch = self.watch.torch
        if one.name in UNFILLED or all_same(torch, one.given, other.given):
            return False
        return (one.name in DRAWS and one.name.endswith("_")) or all_same(torch, one.taken, other.taken)


def rate_set_at(operation: Operation) -> CallSite | None:
    """The line that sets the rate of a dropout, if it is a variable of the function; else the line of the call."""
    site = operation.site
    for call in calls_of(operation) if site is not None else []:
        position = 4 if operation.name == "scaled_dot_product_attention" else 1
        rates: list[ast.expr] = [word.value for word in call.keywords if word.arg in ("p", "dropout_p")]
        rates += call.args[position : position + 1]
        if rates and isinstance(rates[0], ast.Name) and site is not None:
            return assigned_at(site, rates[0].id) or site
    return site


def calls_of(operation: Operation) -> list[ast.Call]:
    """The calls by the operation's name in the statement that it comes from."""
    statement = statement_at(operation.site.file, operation.site.line) if operation.site is not None else None
    return [
        node
        for node in (walk(statement) if statement is not None else ())
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == operation.name
    ]


def told_the_mode(operation: Operation) -> bool:
    """True if the source passes a mode to this dropout (Monte-Carlo dropout does), or does not call it by its name."""
    if operation.site is None:
        return True
    calls = calls_of(operation)
    modes = [
        len(call.args) >= MODE_POSITION or any(word.arg in ("training", "train", None) for word in call.keywords)
        for call in calls
    ]
    if operation.name == "scaled_dot_product_attention":  # has no mode: the rate is all that it is told
        return False
    return not calls or any(modes)
