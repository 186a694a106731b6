"""Which rules a test session saw speak and saw keep silent: every code must do both.

A rule that no test makes speak may be dead; one that no test sees keep silent *over evidence that it applies to* may
accuse everybody. So each code must be seen to find something in one test at least, and, in two others at least (a
healthy program and a near miss), to look at evidence and say nothing.

And a rule that finds something in evidence of which its ``looked_at`` says that there was nothing to look at would be
*not examined* on the healthy twin of that run, for ever: where the variable is set, the finding fails the test that
sees it.

The plugin wraps :meth:`traindx.rules.base.Rule.check`, so it also sees rules that run over a watched script's evidence.
``TRAINDX_RULE_COVERAGE=report`` names at the end the codes that lack one of them; ``=1`` makes
the session fail as well. Only a session of all quick tests can say that: one of some files, of ``-k``, or that ended
early is not judged, except on ``=always``.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from traindx.evidence import Evidence
    from traindx.finding import Finding
    from traindx.rules import Rule
    from traindx.rules.base import Limits

SILENT_TESTS = 2
JUDGED = ("", "not slow")  # what ``-m`` may say
_seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: {"spoke": set(), "silent": set()})
_running = [""]  # the test that runs


def pytest_configure(config: pytest.Config) -> None:
    """Wrap the one method that every front end applies rules with."""
    from traindx.rules.base import Rule

    original = Rule.check

    def check(self: Rule, evidence, *args, **kwargs):
        found = original(self, evidence, *args, **kwargs)
        if _running[0] and (found or looked(self, evidence)):
            _seen[self.code]["spoke" if found else "silent"].add(_running[0])
        return found

    Rule.check = check  # type: ignore[method-assign]
    decides = Rule.decide

    def decide(self: Rule, evidence: Evidence, limits: Limits) -> Iterator[Finding]:
        found = list(decides(self, evidence, limits))
        asked = bool(found and _running[0] and os.environ.get("TRAINDX_RULE_COVERAGE"))
        nothing = self.nothing_in(evidence, limits) if asked else None
        assert nothing is None, f"{self.code} finds something, and says that there was nothing to look at: {nothing}"
        return iter(found)

    Rule.decide = decide  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """Remember which test runs."""
    _running[0] = item.nodeid
    try:
        return (yield)
    finally:
        _running[0] = ""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """A worker has ended: add what it saw (xdist carries ``workeroutput`` over)."""
    for code, kinds in getattr(node, "workeroutput", {}).get("rules_seen", {}).items():
        for kind, tests in kinds.items():
            _seen[code][kind].update(tests)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Workers hand over what they saw; the session that is not a worker judges the sum."""
    if hasattr(session.config, "workeroutput"):
        seen = {code: {kind: sorted(tests) for kind, tests in kinds.items()} for code, kinds in _seen.items()}
        session.config.workeroutput["rules_seen"] = seen
        return
    wanted = os.environ.get("TRAINDX_RULE_COVERAGE", "")
    if not (wanted == "always" or (wanted in ("1", "report") and everything(session.config))):
        return
    if session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    lacking = missing()
    session.config.stash[_LACKING] = lacking
    if lacking and wanted != "report" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def looked(rule: Rule, evidence: Evidence) -> bool:
    """True if one form of the rule had its records, and among them something that could have shown the fault."""
    limits = rule.limits()
    return any(form.has_records(evidence) and form.nothing_in(evidence, limits) is None for form in rule.deciders)


def everything(config: pytest.Config) -> bool:
    """True for a session of all quick tests, the only one that can say that a test is missing."""
    options = config.option
    chosen = (options.keyword, options.deselect, options.ignore, options.ignore_glob, options.maxfail)
    folders = [config.invocation_params.dir / argument for argument in config.args]
    paths = [config.rootpath / name for name in config.getini("testpaths")]
    rerun = getattr(options, "lf", False) or getattr(options, "stepwise", False)
    return folders == paths and options.markexpr in JUDGED and not any(chosen) and not rerun and not options.collectonly


def missing() -> list[str]:
    """A line for every code that was not seen to speak, or not often enough to keep silent."""
    from traindx.rules import catalogue

    lines = []
    for code in catalogue():
        spoke, silent = len(_seen[code]["spoke"]), len(_seen[code]["silent"])
        if not spoke or silent < SILENT_TESTS:
            lines.append(f"{code}: found something in {spoke} tests, looked and said nothing in {silent}")
    return lines


_LACKING = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Say which codes lack a faulty, a healthy or a near-miss test."""
    for line in config.stash.get(_LACKING, []):
        terminalreporter.write_line(f"rule without its tests: {line}", red=True)
