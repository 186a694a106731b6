"""Every condition of a rule by itself: a record that is just enough, and what each of its numbers may not be.

What a row says is taken from the page of its rule, not from the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from traindx.evidence import Evidence, Record
from traindx.evidence.observed import Observed
from traindx.finding import Location, Severity, Standing
from traindx.rules import Rule, catalogue

Changes = dict[str, Any]
How = str | Standing | Severity | None
PLACE = Location(file="place.py", line=11)


@dataclass(frozen=True)
class Row:
    """A record of which a rule speaks.

    Attributes:
        code: The rule.
        base: The record.
        silent: Changes with which it looks and says nothing.
        unseen: Changes with which it has not seen enough to say anything.
        speaks: Changes with which it speaks all the same, and the variant or standing of that, or words of its message.
        beside: Other records.
        times: How many records like it there are.
        form: What the form of the rule needs, if not records like it.
    """

    code: str
    base: Record
    silent: Sequence[Changes] = ()
    unseen: Sequence[Changes] = ()
    speaks: Sequence[tuple[Changes, How]] = ()
    beside: tuple[Record, ...] = ()
    times: int = 1
    form: type[Record] | None = None

    def cases(self) -> Iterator[Any]:
        """One case a change."""
        given = [({}, "speaks", None), *((changes, "speaks", how) for changes, how in self.speaks)]
        given += [(changes, "silent", None) for changes in self.silent]
        given += [(changes, "unseen", None) for changes in self.unseen]
        for changes, what, how in given:
            words = " ".join(f"{name}={value}" for name, value in changes.items())
            name = f"{self.code} {type(self.base).__name__} {words} {what}".replace("  ", " ")
            yield pytest.param(self, changes, what, how, id=name)

    def decider(self) -> Rule:
        """The form of the rule that decides from such records."""
        forms = [one for one in catalogue()[self.code].deciders if (self.form or type(self.base)) in one.needs]
        return min(forms, key=lambda one: len(one.needs))

    def check(self, changes: Changes, what: str, how: How) -> None:
        """Ask the form of the rule that reads such records."""
        evidence = Evidence()
        for record in (*[self.base.model_copy(update=changes)] * self.times, *self.beside):
            evidence.add(record if record.where is not None else record.model_copy(update={"where": PLACE}))
        rule, form = catalogue()[self.code], self.decider()
        found = list(form.decide(evidence, rule.limits()))
        assert len(found) == (what == "speaks")
        looked = form.nothing_in(evidence, rule.limits()) is None
        assert looked is (what != "unseen")
        if what == "speaks":
            assert found[0].location is not None or not isinstance(self.base, Observed)  # data folders have no lines
            assert how in (None, found[0].variant, found[0].standing, found[0].severity) or how in found[0].message
