"""What a rule is: a pure function from evidence to findings, with its documentation, thresholds and code.

A rule lives in one file, ``rules/<family>/<code>_<name>.py``::

    @rule("S501", "sampler-does-not-invert", Severity.CRITICAL, needs=(SamplerStep,),
          max_deviation=Threshold(1e-3, "float32 round-off is below 1e-5; the smallest real fault seen was 0.02"))
    def sampler_does_not_invert(evidence: Evidence, limits: Limits) -> Iterator[Found]:
        \"\"\"What it finds: ...\"\"\"

The function's docstring is the rule's documentation page. It never runs a model.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

from traindx.errors import InputError
from traindx.evidence.base import Evidence, Record
from traindx.finding import Finding, Location, Offender, Proposal, Severity, Standing

R = TypeVar("R", bound=Record)

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "D": "data and normalisation",
        "M": "model and information path",
        "L": "loss",
        "O": "optimisation",
        "S": "diffusion and sampling",
        "P": "physics and projection",
        "Y": "outputs",
        "E": "evaluation and metrics",
        "T": "training dynamics",
        "R": "representation and prototypes",
        "C": "checkpoint, mode and state",
    }
)

SECTIONS = (
    "What it finds",
    "Why it stops learning",
    "Evidence it needs",
    "How it decides",
    "Remedy",
    "Trial it proposes",
    "Known false positives",
    "References",
)

Unseen = Callable[[Evidence, "Limits"], "Nothing | None"]
"""What a rule must have had before its eyes: None if it was there, else what was missing. See :func:`requires`."""


@dataclass(frozen=True)
class Nothing:
    """A rule had its records and still nothing to look at, so its silence says nothing.

    Attributes:
        reason: What was missing, in one sentence without a full stop.
        thing: What this program has none of (``"gradient clipping"``), if the rule is about that alone; a rule about
            something that is not there is not counted as missing.
    """

    reason: str
    thing: str = ""


def requires(
    kind: type[R],
    test: Callable[[R, Limits], bool] | None = None,
    *,
    otherwise: str = "",
    thing: str = "",
    least: int = 1,
) -> Unseen:
    """Records of a kind that a rule can truly judge; for ``looked_at`` of :func:`rule`.

    Args:
        kind: Record type.
        test: Whether a record is one that could have shown the fault; any record where it is left out.
        otherwise: What was missing, in one sentence without a full stop.
        thing: What a program without such a record has none of; empty if every training has it.
        least: How many there must be.
    """

    def unseen(evidence: Evidence, limits: Limits) -> Nothing | None:
        there = sum(test is None or test(record, limits) for record in evidence.of(kind))
        return None if there >= least else Nothing(otherwise or f"there are no {thing}", thing)

    return unseen


@dataclass(frozen=True)
class Threshold:
    """A default limit and the reason for it."""

    value: float
    why: str


class Limits(Mapping[str, float]):
    """The thresholds in force for one rule; read as attributes: ``limits.max_deviation``."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = dict(values)

    def __getattr__(self, name: str) -> float:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a rule's function yields; the rule adds code, name and default severity to make a :class:`Finding`.

    ``variant`` tells apart what one code can mean, in kebab case, where something downstream (a patch) must know; the
    message is for people and may be reworded at any time.
    """

    message: str
    standing: Standing = Standing.SUSPECTED
    location: Location | None = None
    numbers: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    remedy: str = ""
    proposals: tuple[Proposal, ...] = ()
    pictures: tuple[str, ...] = ()
    severity: Severity | None = None
    variant: str = ""
    offenders: Sequence[Named] = ()


class Named(Protocol):
    """Anything with a name and a word on it, such as :class:`~traindx.evidence.dataset.Example`."""

    @property
    def name(self) -> str:
        """A file, item or table row."""

    @property
    def detail(self) -> str:
        """What was measured in it."""


@dataclass(frozen=True)
class Rule:
    """A rule of the catalogue.

    Attributes:
        code: Family letter and number, stable for ever.
        name: Kebab-case name.
        severity: Default severity of its findings.
        needs: Record types that must all be present; otherwise the rule is reported as not applied.
        thresholds: Default limits by name.
        function: The decision.
        others: The same fault decided from other evidence (watching a script instead of examining a case).
        looked_at: What must have been seen, beyond the records, before silence means anything.
        thing: What a program without the records has none of (``"gradient clipping"``); empty to go by the records.
    """

    code: str
    name: str
    severity: Severity
    needs: tuple[type[Record], ...]
    thresholds: Mapping[str, Threshold]
    function: Callable[[Evidence, Limits], Iterator[Found]]
    others: tuple[Rule, ...] = ()
    looked_at: tuple[Unseen, ...] = ()
    thing: str = ""

    @property
    def deciders(self) -> tuple[Rule, ...]:
        """The rule's own form and its other ones, each with its own evidence and function."""
        return (self, *self.others)

    def also(self, other: Rule) -> Rule:
        """This rule, deciding from the evidence of another one of the same code too.

        Raises:
            ValueError: The other rule has another code, or a threshold of the same name.
        """
        if other.code != self.code:
            raise ValueError(f"{other.code} is not {self.code}")
        clash = self.thresholds.keys() & other.thresholds.keys()
        if clash:
            raise ValueError(f"{self.code}: two thresholds are named {', '.join(sorted(clash))}")
        thresholds = MappingProxyType({**self.thresholds, **other.thresholds})
        return replace(self, thresholds=thresholds, others=(*self.others, other))

    @property
    def family(self) -> str:
        """The family letter, ``S`` of ``S501``."""
        return re.match(r"[A-Z]+", self.code).group()  # type: ignore[union-attr]

    @property
    def page(self) -> str:
        """The documentation page: the function's docstring, dedented."""
        return inspect.cleandoc(self.function.__doc__ or "")

    @property
    def source(self) -> Path:
        """The file the rule is written in."""
        return Path(inspect.getfile(self.function))

    def applies(self, evidence: Evidence) -> bool:
        """True if every record type the rule needs was gathered, or all that one of its other forms needs."""
        return any(decider.has_records(evidence) for decider in self.deciders)

    def has_records(self, evidence: Evidence) -> bool:
        """True if every record type that this form needs was gathered."""
        return all(evidence.of(kind) for kind in self.needs)

    def nothing_in(self, evidence: Evidence, limits: Limits) -> Nothing | None:
        """What this form's silence would lack to mean anything; None if it had something to look at."""
        return next((found for look in self.looked_at if (found := look(evidence, limits)) is not None), None)

    def check(self, evidence: Evidence, overrides: Mapping[str, float] | None = None) -> list[Finding]:
        """Run the rule on evidence.

        Args:
            evidence: What was gathered.
            overrides: Thresholds from the user's configuration.

        Raises:
            InputError: A threshold is named that the rule does not have.
        """
        limits = self.limits(overrides)
        return [
            finding
            for decider in self.deciders
            if decider.has_records(evidence)
            for finding in decider.decide(evidence, limits)
        ]

    def limits(self, overrides: Mapping[str, float] | None = None) -> Limits:
        """The thresholds in force.

        Raises:
            InputError: A threshold is named that the rule does not have.
        """
        values = {name: threshold.value for name, threshold in self.thresholds.items()}
        for name, value in (overrides or {}).items():
            if name not in values:
                raise InputError(
                    f"rule {self.code} has no threshold {name!r}",
                    expected=f"one of {', '.join(sorted(values)) or 'none'}",
                    do=f"see `traindx explain {self.code}`",
                )
            values[name] = value
        return Limits(values)

    def decide(self, evidence: Evidence, limits: Limits) -> Iterator[Finding]:
        """Run this form alone."""
        for found in self.function(evidence, limits):
            yield Finding(
                code=self.code,
                name=self.name,
                message=found.message,
                location=found.location,
                severity=found.severity or self.severity,
                standing=found.standing,
                numbers=dict(found.numbers),
                variant=found.variant,
                remedy=found.remedy,
                proposals=found.proposals,
                pictures=found.pictures,
                offenders=tuple(Offender(name=one.name, detail=one.detail) for one in found.offenders),
                evidence=tuple(kind.__name__ for kind in self.needs),
            )


def rule(
    code: str,
    name: str,
    severity: Severity,
    *,
    needs: tuple[type[Record], ...],
    looked_at: Unseen | tuple[Unseen, ...] = (),
    thing: str = "",
    **thresholds: Threshold,
) -> Callable[[Callable[[Evidence, Limits], Iterator[Found]]], Rule]:
    """Turn a decision function into a :class:`Rule`. See the module docstring for an example.

    A function that returns early, or passes over records that it cannot judge, must say so in ``looked_at``: a rule
    that had nothing to look at is *not examined*, never *in order*.
    """
    looks = looked_at if isinstance(looked_at, tuple) else (looked_at,)

    def decorate(function: Callable[[Evidence, Limits], Iterator[Found]]) -> Rule:
        known = MappingProxyType(dict(thresholds))
        return Rule(code, name, severity, needs, known, function, looked_at=looks, thing=thing)

    return decorate


class Registry(Mapping[str, Rule]):
    """Rules by code. A duplicate code or name, or a family that does not exist, is refused."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: dict[str, Rule] = {}
        names: dict[str, str] = {}
        for item in rules:
            if item.code in self._rules:
                raise ValueError(f"rule code {item.code} is taken by {self._rules[item.code].name}")
            if item.name in names:
                raise ValueError(f"rule name {item.name} is taken by {names[item.name]}")
            if item.family not in FAMILIES:
                raise ValueError(f"rule {item.code} is of no family; families are {', '.join(FAMILIES)}")
            self._rules[item.code] = item
            names[item.name] = item.code

    def __getitem__(self, code: str) -> Rule:
        try:
            return self._rules[code.upper()]
        except KeyError:
            raise InputError(
                f"there is no rule {code!r}",
                expected="a code such as S501",
                do="list them with `traindx rules`",
            ) from None

    def __contains__(self, code: object) -> bool:
        return isinstance(code, str) and code.upper() in self._rules

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._rules, key=lambda code: (code[0], int(re.sub(r"\D", "", code)))))

    def __len__(self) -> int:
        return len(self._rules)
