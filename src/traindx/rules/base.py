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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from traindx.errors import InputError
from traindx.evidence.base import Evidence, Record
from traindx.finding import Finding, Location, Proposal, Severity, Standing

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
    """

    code: str
    name: str
    severity: Severity
    needs: tuple[type[Record], ...]
    thresholds: Mapping[str, Threshold]
    function: Callable[[Evidence, Limits], Iterator[Found]]
    others: tuple[Rule, ...] = ()

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
        return self._has(evidence) or any(other.applies(evidence) for other in self.others)

    def _has(self, evidence: Evidence) -> bool:
        return all(evidence.of(kind) for kind in self.needs)

    def check(self, evidence: Evidence, overrides: Mapping[str, float] | None = None) -> list[Finding]:
        """Run the rule on evidence.

        Args:
            evidence: What was gathered.
            overrides: Thresholds from the user's configuration.

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
        found = list(self._decide(evidence, values)) if self._has(evidence) else []
        for other in self.others:
            if other.applies(evidence):
                found.extend(other._decide(evidence, values))
        return found

    def _decide(self, evidence: Evidence, values: Mapping[str, float]) -> Iterator[Finding]:
        for found in self.function(evidence, Limits(values)):
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
                evidence=tuple(kind.__name__ for kind in self.needs),
            )


def rule(
    code: str,
    name: str,
    severity: Severity,
    *,
    needs: tuple[type[Record], ...],
    **thresholds: Threshold,
) -> Callable[[Callable[[Evidence, Limits], Iterator[Found]]], Rule]:
    """Turn a decision function into a :class:`Rule`. See the module docstring for an example."""

    def decorate(function: Callable[[Evidence, Limits], Iterator[Found]]) -> Rule:
        return Rule(code, name, severity, needs, MappingProxyType(dict(thresholds)), function)

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
