"""What a rule says: a finding, where it is, how bad it is and how well it is established.

A finding moves through standings: ``suspected`` (a pattern that often means trouble), ``demonstrated`` (a
property that must hold was shown broken), then, after a trial, ``proven`` (the treatment moved the metric) or
``refuted`` (it did not). Only a trial may set the last two.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A frozen pydantic model that refuses unknown fields: the base of everything that is written to disk."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=True)


class Severity(StrEnum):
    """How much a finding would hurt if it is true, before any trial."""

    NOTE = "note"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for a note up to 3 for critical."""
        return list(Severity).index(self)


class Standing(StrEnum):
    """How well a finding is established."""

    REFUTED = "refuted"
    SUSPECTED = "suspected"
    DEMONSTRATED = "demonstrated"
    PROVEN = "proven"

    @property
    def rank(self) -> int:
        """0 for refuted up to 3 for proven."""
        return list(Standing).index(self)

    @property
    def established(self) -> bool:
        """True for what was shown and not only suspected: what makes an outcome *fault found*."""
        return self.rank > Standing.SUSPECTED.rank


class Verdict(StrEnum):
    """What a trial says of one treatment.

    ``proven``: moves the metric given that all else is fixed, by more than the noise; ``contributory``: moves it in
    one context and not in the other; ``no effect``: bit-identical weights and outputs, or an interval that
    lies within the margin of no importance; ``harmful``: the treatment makes the metric worse in every context;
    ``inconclusive``: none of these could be shown within the budget.
    """

    PROVEN = "proven"
    CONTRIBUTORY = "contributory"
    NO_EFFECT = "no effect"
    HARMFUL = "harmful"
    INCONCLUSIVE = "inconclusive"

    @classmethod
    def _missing_(cls, value: object) -> Verdict | None:
        """The word of version 0.1 in diagnoses that users keep."""
        return cls.NO_EFFECT if value == "innocent" else None


class Location(Frozen):
    """A place in the user's code.

    Attributes:
        file: Path as the user would open it (relative to the working directory where possible); of a notebook with
            the cell, ``train.ipynb, cell 3``.
        line: 1-based line number, or 0 where only the file is known.
        symbol: Qualified name of the function, class or module path.
    """

    file: str
    line: int = 0
    symbol: str = ""

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}, line {self.line}" if self.cell else f"{self.file}:{self.line}"

    @property
    def cell(self) -> int:
        """Number of the notebook's cell that the line is in; 0 for a file."""
        path, mark, number = self.file.rpartition(", cell ")
        return int(number) if mark and number.isdecimal() and path.endswith((".ipynb", "notebook")) else 0


class Effect(Frozen):
    """A paired effect of a treatment on a metric.

    Attributes:
        mean: Mean of the paired differences, treated minus untreated, signed so that positive is better.
        low: Lower end of the interval (t-interval over seeds; NaN where nothing is known of the spread).
        high: Upper end.
        confidence: Of the interval: 95 %, or more where several questions were asked or seeds looked at more than once,
            and the verdict would not follow from an interval of 95 %.
        n: Number of pairs.
        differences: The paired differences themselves.
        by_ratio_at: The geometric mean of the untreated readings, where pairs are compared by their ratios, as errors
            are that spread over a factor of ten and more: mean and interval are then what the mean ratio and its
            interval take off from that reading. 0 where pairs are compared by their differences.
        log_ratios: log(untreated / treated) of the pairs that are compared by their ratios.
    """

    mean: float
    low: float
    high: float
    n: int
    differences: tuple[float, ...] = ()
    confidence: float = 0.95
    by_ratio_at: float = 0.0
    log_ratios: tuple[float, ...] = ()


class Worth(Frozen):
    """What fixing a finding is worth, as measured by trials and by nothing else.

    Attributes:
        metric: Name of the metric the trial was judged by.
        unit: Its unit, for example ``dB``.
        alone: Effect of this treatment alone on the untreated case.
        given_rest: Effect of this treatment when all the other treatments are in place.
        verdict: What follows from the two.
        bit_identical: True if training with and without the treatment gave identical weights.
        note: One sentence that explains an unexpected verdict (for example masking).
    """

    metric: str
    unit: str = ""
    alone: Effect | None = None
    given_rest: Effect | None = None
    verdict: Verdict = Verdict.INCONCLUSIVE
    bit_identical: bool = False
    note: str = ""


class Proposal(Frozen):
    """A treatment that a rule proposes for trial: a name known to :mod:`traindx.trials` and its parameters."""

    treatment: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class Offender(Frozen):
    """One file, item or table row that a finding is about.

    Attributes:
        name: Path relative to the data folder, with ``#item`` behind it inside an array file, or ``table:line``.
        detail: What is wrong with it.
    """

    name: str
    detail: str = ""


class Finding(Frozen):
    """One thing that is wrong, or looks wrong.

    Attributes:
        code: Rule code, for example ``S501``.
        name: Rule name, for example ``sampler-does-not-invert``.
        message: One or two sentences a tired person understands, with the decisive numbers in them.
        location: Where in the user's code; None where no single place exists.
        severity: How bad, before any trial.
        standing: How well established.
        numbers: The measured quantities behind the message, by name (with unit in the name where there is one).
        remedy: What to do, concretely.
        proposals: Treatments whose trial would prove or refute this finding.
        pictures: Names of :class:`~traindx.evidence.Picture` records to show beside it.
        evidence: Names of the record kinds the rule looked at.
        worth: What a trial measured, or None.
        variant: Which of the things that a code can mean, in kebab case; nothing downstream reads the message.
        offenders: Every file, item or row that it is about (up to 10,000); the message names a few.
    """

    code: str
    name: str
    message: str
    location: Location | None = None
    severity: Severity
    standing: Standing = Standing.SUSPECTED
    numbers: dict[str, float | int | str | bool] = Field(default_factory=dict)
    remedy: str = ""
    proposals: tuple[Proposal, ...] = ()
    pictures: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    worth: Worth | None = None
    variant: str = ""
    offenders: tuple[Offender, ...] = ()
