"""What a fault of the catalogue is: a change of a healthy case, applied from outside, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from traindx.case import Case

Diagnosed = Literal["right", "wrong", "placebo", "harm"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A reproducible fault.

    Attributes:
        name: Kebab-case name, stable.
        recipe: The recipe whose case it changes.
        postmortem: The document it is described in, without suffix.
        title: One line that says what is done.
        apply: Healthy case to faulty case.
        expected_rule: Code of the rule that must come first; empty for what must be ruled out or stay silent.
        documented_diagnosis: What the document says of it: ``right`` (a real fault), ``wrong`` (a real fault that the
            document overlooked or took for something else), ``no effect`` (no fault: changing it changes nothing),
            ``harm`` (proposed as a fix, and makes things worse).
        claim: What the document claims, with its figures.
        truth: What was measured.
    """

    name: str
    recipe: str
    postmortem: str
    title: str
    apply: Callable[[Case], Case]
    expected_rule: str = ""
    documented_diagnosis: Diagnosed
    claim: str = ""
    truth: str = ""


@dataclass(frozen=True)
class Chapter:
    """Makes the faults of one recipe that one document is about.

    Attributes:
        recipe: See :class:`Fault`.
        postmortem: See there.
    """

    recipe: str
    postmortem: str

    def fault(
        self,
        name: str,
        title: str,
        apply: Callable[[Case], Case],
        rule: str,
        diagnosed: Diagnosed,
        claim: str,
        truth: str,
    ) -> Fault:
        """A fault, see :class:`Fault` for what is meant by each."""
        return Fault(
            name=name,
            recipe=self.recipe,
            postmortem=self.postmortem,
            title=title,
            apply=apply,
            expected_rule=rule,
            documented_diagnosis=diagnosed,
            claim=claim,
            truth=truth,
        )


def together(faults: Iterable[Fault]) -> Callable[[Case], Case]:
    """Apply several faults, one after the other."""
    ordered = tuple(faults)

    def apply(case: Case) -> Case:
        for fault in ordered:
            case = fault.apply(case)
        return case

    return apply


def catalogued(faults: Iterable[Fault]) -> Mapping[str, Fault]:
    """Faults by name.

    Raises:
        ValueError: A name is taken twice.
    """
    found: dict[str, Fault] = {}
    for fault in faults:
        if fault.name in found:
            raise ValueError(f"fault {fault.name!r} is catalogued twice")
        found[fault.name] = fault
    return MappingProxyType(found)
