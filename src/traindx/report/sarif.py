"""``diagnosis.sarif``: SARIF 2.1.0, for code-scanning views of editors and forges.

Source: OASIS Standard "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", 2020-03-27. Section numbers
below are of that document.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from traindx.diagnosis import Diagnosis
from traindx.finding import Finding, Severity, Standing
from traindx.report import words
from traindx.report.coverage import coverage_sentence, unexamined
from traindx.report.printable import printable

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
Help = Callable[[str], str]


def render(diagnosis: Diagnosis, *, help_of: Help | None = None) -> str:
    """The diagnosis as a SARIF log with one run.

    Args:
        diagnosis: What to write.
        help_of: ``code -> documentation page`` for the rules of the findings.
    """
    return json.dumps(log(diagnosis, help_of=help_of), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def log(diagnosis: Diagnosis, *, help_of: Help | None = None) -> dict[str, Any]:
    """The SARIF log (§3.13) as plain data."""
    diagnosis = printable(diagnosis)
    codes = list(dict.fromkeys(finding.code for finding in diagnosis.findings))
    names = {finding.code: finding.name for finding in diagnosis.findings}
    driver = {
        "name": "traindx",
        "semanticVersion": diagnosis.provenance.traindx or "0.0.0",
        "rules": [_rule(code, names[code], help_of) for code in codes],
    }
    invocation: dict[str, Any] = {
        "executionSuccessful": not diagnosis.errors,
        "toolExecutionNotifications": [{"level": "error", "message": {"text": error}} for error in diagnosis.errors],
    }
    if diagnosis.provenance.command:
        invocation["commandLine"] = diagnosis.provenance.command
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [invocation],
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, codes.index(finding.code)) for finding in diagnosis.findings],
                "properties": {
                    "case": diagnosis.case,
                    "outcome": diagnosis.outcome.value,
                    "verdict": words.verdict_sentence(diagnosis),
                    "coverage": coverage_sentence(diagnosis),
                    "notExamined": {
                        group.title: [f"{subject}: {reason}" for subject, reason in group.rows]
                        for group in unexamined(diagnosis)
                    },
                },
            }
        ],
    }


def _rule(code: str, name: str, help_of: Help | None) -> dict[str, Any]:
    """A reportingDescriptor (§3.49); its name is Pascal case by convention."""
    rule: dict[str, Any] = {
        "id": code,
        "name": "".join(word.capitalize() for word in name.split("-")),
        "shortDescription": {"text": name.replace("-", " ")},
    }
    page = help_of(code) if help_of is not None else ""
    if page:
        rule["help"] = {"text": page}
    return rule


def _result(finding: Finding, index: int) -> dict[str, Any]:
    """A result (§3.27). A refuted finding passed; §3.27.9 asks for level ``none`` then."""
    refuted = finding.standing is Standing.REFUTED
    text = f"{finding.message} [{finding.standing.value}; effect of the fix: {words.fix_effect(finding.worth)}]"
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "kind": "pass" if refuted else "fail",
        "level": "none" if refuted else _level(finding),
        "message": {"text": text},
        "properties": {
            "standing": finding.standing.value,
            "severity": finding.severity.value,
            "numbers": {name: _finite(value) for name, value in finding.numbers.items()},
        },
    }
    if finding.remedy:
        result["properties"]["remedy"] = finding.remedy
    if finding.worth is not None:
        result["properties"]["worth"] = json.loads(finding.worth.model_dump_json())  # NaN as text
    if finding.location is not None:
        place = finding.location
        file = place.file.rpartition(", cell ")[0] if place.cell else place.file
        physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(file)}}
        if place.line > 0 and not place.cell:  # a line of a cell is no line of the file
            physical["region"] = {"startLine": place.line}
        location: dict[str, Any] = {"physicalLocation": physical}
        if place.cell:
            location["logicalLocations"] = [{"fullyQualifiedName": f"cell {place.cell}, line {place.line}"}]
        elif place.symbol:
            location["logicalLocations"] = [{"fullyQualifiedName": place.symbol}]
        result["locations"] = [location]
    return result


def _level(finding: Finding) -> str:
    """Errors are shown faults that matter; what is only suspected never breaks a build."""
    if finding.severity is Severity.NOTE:
        return "note"
    strong = finding.standing.rank > Standing.SUSPECTED.rank and finding.severity.rank >= Severity.MAJOR.rank
    return "error" if strong else "warning"


def _finite(value: float | int | str | bool) -> float | int | str | bool:
    """JSON knows no NaN and no infinity; they are written as text."""
    return value if not isinstance(value, float) or abs(value) < float("inf") else words.number(value)


def _uri(file: str) -> str:
    """A relative reference with forward slashes, or a ``file:`` URI for an absolute path (§3.4.3)."""
    path = PurePath(file)
    return Path(file).as_uri() if path.is_absolute() else quote(path.as_posix())
