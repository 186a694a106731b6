"""Begin a rule: its file, its registration, its page and its three tests, which fail until they are filled in.

python scripts/new_rule.py O414 momentum-too-high
python scripts/new_rule.py O414 momentum-too-high --record OptimizerSeen --module observed_optim
"""

from __future__ import annotations

import argparse

from scaffolding import ROOT, SOURCE, ScaffoldError, register, run, snake, tidy, write

FOLDERS = {
    "D": "data", "M": "model", "L": "loss", "O": "optimisation", "S": "sampling", "P": "physics", "Y": "outputs",
    "E": "evaluation", "T": "dynamics", "R": "representation", "C": "state",
}  # fmt: skip

RULE = '''"""{code} {name}."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.{module} import {record}
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "{code}",
    "{name}",
    Severity.MAJOR,
    needs=({record},),
    limit=Threshold(1.0, "TODO: its source: a paper and its equation, or what healthy runs showed"),
)
def {function}(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """TODO: one sentence: what is wrong.

    What it finds:
        TODO
    Why it stops learning:
        TODO
    Evidence it needs:
        {record}: TODO who writes it.
    How it decides:
        TODO. Above `limit`: `suspected`.
    Remedy:
        TODO
    Trial it proposes:
        None.
    Known false positives:
        TODO
    References:
        None.
    """
    for record in evidence.of({record}):
        raise NotImplementedError("{code} decides nothing yet")
        yield Found(message=f"{{record.where}}: TODO", location=record.where, remedy="TODO")
'''

TEST = '''"""{code} {name}: found where it is, silent on a healthy run, and not confused by what looks like it."""

from __future__ import annotations

import pytest

from traindx.evidence.base import Evidence
from traindx.evidence.{module} import {record}
from traindx.rules import catalogue

RULE = catalogue()["{code}"]


def evidence(*records: {record}) -> Evidence:
    gathered = Evidence(None)
    for record in records:
        gathered.add(record)
    return gathered


def test_faulty():
    """The fault, at best from a small real run, is found at its line with the decisive number."""
    pytest.fail("fill in: a record or a run of the fault, and what the finding must say")


def test_healthy():
    """A healthy run has the evidence, and nothing is said."""
    pytest.fail("fill in: assert RULE.check(evidence(...)) == []")


def test_near_miss():
    """What looks like it and is right: nothing is said."""
    pytest.fail("fill in: the case that a careless rule would confuse with the fault")
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", help="the next free code of the family; `traindx rules` lists what is taken")
    parser.add_argument("name", help="kebab-case, what is wrong")
    parser.add_argument("--record", default="NotExamined", help="record type of src/traindx/evidence that it reads")
    parser.add_argument("--module", default="base", help="module of src/traindx/evidence that the record is in")
    given = parser.parse_args()
    code = given.code.upper()
    folder = FOLDERS.get(code.rstrip("0123456789"))
    if folder is None:
        raise ScaffoldError(f"{code} is of no family: expected a letter of {', '.join(FOLDERS)} and a number")
    from traindx.rules import catalogue

    if code in catalogue():
        raise ScaffoldError(f"{code} is taken by {catalogue()[code].name}: see `traindx rules` for what is free")
    function = snake(given.name)
    words = {
        "code": code, "name": given.name, "function": function, "record": given.record, "module": given.module,
    }  # fmt: skip
    stem = f"{code.lower()}_{function}"
    family = SOURCE / "rules" / folder
    write(family / f"{stem}.py", RULE.format(**words))
    test = ROOT / "tests" / "rules" / folder / f"test_{code.lower()}.py"
    write(test, TEST.format(**words))
    tidy(family / f"{stem}.py", test)
    register(
        family / "__init__.py",
        f"from traindx.rules.{folder}.{stem} import {function}",
        "RULES: tuple[Rule, ...] = (",
        function,
    )
    print("now: add the code to the relation that it watches, in src/traindx/rules/relations.py")
    print(f"then: fill in both files, `make docs` for the page, `.venv/bin/pytest -q {test.relative_to(ROOT)}`")


if __name__ == "__main__":
    run(main)
