"""One examination from the command line: run it, keep what was seen whatever happens, write and show the report.

Every examining command goes through :func:`run`. Its exit codes are those of :mod:`traindx.errors`, and 130 after
Ctrl-C.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.cli import failure, run_folders
from traindx.cli.drawing import progress_shown
from traindx.errors import TraindxError, UsageError
from traindx.private import make_private
from traindx.progress import Listener

if TYPE_CHECKING:
    from traindx.diagnosis import Diagnosis


@dataclass
class Watch:
    """What the work tells the session, so that a failure can be reported well.

    Attributes:
        listener: Where progress goes.
        case: Name of the case, once it is known.
        examining: True from the moment the evidence directory belongs to this run; what is in it is then kept and
            reported after a failure.
    """

    listener: Listener
    case: str
    examining: bool = False

    def begin(self, case: str, out: Path) -> None:
        """From here on the directory belongs to this run: what an earlier run concluded there is removed."""
        (out / "diagnosis.json").unlink(missing_ok=True)
        self.case, self.examining = case, True


def default_directory(label: str, *, unfinished: str = "") -> Path:
    """A folder of its own for a run: ``traindx-out/<label>``; see :func:`traindx.cli.run_folders.own_directory`."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", label).strip("-.") or "case"
    return run_folders.own_directory(name, unfinished=unfinished)


def run(work: Callable[[Watch], Diagnosis], *, label: str, out: Path, as_json: bool, command: str) -> int:
    """Do the work, write the report and show it.

    Args:
        work: The examination; it may fail in any way.
        label: Name of the case until the work knows better.
        out: Evidence directory; reports are written there too.
        as_json: Print the diagnosis as JSON on stdout, and nothing else there.
        command: The command line, for the report of a failure.

    Returns:
        The exit code.

    Raises:
        UsageError: The work found that the command was wrong; nothing is written then.
    """
    from traindx import report
    from traindx.report import diagnosis_json, terminal

    writable(out)
    watch = Watch(listener=lambda _: None, case=label)
    with run_folders.claimed(out), ended_by_signal(), stdout_for_report_only(as_json):
        diagnosis, code = _guarded(work, watch, out, command)
        try:
            report.write(diagnosis, out, help_of=_page)
        except Exception as error:
            failure.say_unexpected(error, out)
            code = max(code, TraindxError.exit_code)
    if as_json:
        sys.stdout.write(diagnosis_json.render(diagnosis, ascii_only=True))
        return code
    terminal.render(diagnosis)
    terminal.written([out / "report.html", out / "diagnosis.json"], file=sys.stderr)
    return code


def _guarded(work: Callable[[Watch], Diagnosis], watch: Watch, out: Path, command: str) -> tuple[Diagnosis, int]:
    """The diagnosis and the exit code, whatever the work does."""
    try:
        with progress_shown() as listener:
            watch.listener = listener
            diagnosis = work(watch)
    except UsageError:
        raise
    except KeyboardInterrupt:
        if _ended_by:
            name = signal.Signals(_ended_by[0]).name
            print(f"traindx: ended by {name}; what was seen so far is kept in {out}", file=sys.stderr)
            return salvage(watch, out, f"ended by {name}", command), 128 + _ended_by[0]
        print(f"traindx: interrupted; what was seen so far is kept in {out}", file=sys.stderr)
        return salvage(watch, out, "interrupted by the user", command), failure.INTERRUPTED
    except TraindxError as error:
        failure.say(error)
        return salvage(watch, out, str(error), command), error.exit_code
    except Exception as error:
        return salvage(watch, out, failure.say_unexpected(error, out), command), TraindxError.exit_code
    if diagnosis.exit_code == TraindxError.exit_code:
        from traindx.report.printable import printable_text

        for line in diagnosis.errors:
            print(f"traindx: {printable_text(line)}", file=sys.stderr)
    return diagnosis, diagnosis.exit_code


def salvage(watch: Watch, out: Path, error: str, command: str) -> Diagnosis:
    """What can be said after a failure: what the examination wrote on its way out, else the evidence."""
    from traindx import pipeline
    from traindx.evidence import NotExamined
    from traindx.report import diagnosis_json

    kept = None
    if watch.examining and (out / "diagnosis.json").exists():
        with suppress(TraindxError):
            kept = diagnosis_json.load(out / "diagnosis.json")
    if kept is None or not (kept.findings or kept.healthy):
        kept = _from_evidence(watch, out, command)
    return kept.model_copy(
        update={
            "outcome": pipeline.outcome(kept.findings, enough=False),
            "errors": (error, *(known for known in kept.errors if known != error)),
            "not_examined": (*kept.not_examined, NotExamined(subject="everything after the failure", reason=error)),
        }
    )


def _from_evidence(watch: Watch, out: Path, command: str) -> Diagnosis:
    """A diagnosis of the evidence on disk; empty where nothing was gathered."""
    from traindx import pipeline
    from traindx.diagnosis import Diagnosis, ranked
    from traindx.evidence import Curve, Evidence, InOrder, NotExamined, Picture
    from traindx.rules.fronts import Front

    evidence = Evidence()
    errors: list[str] = []
    if watch.examining and (out / "evidence.jsonl").exists():
        try:
            evidence = Evidence.load(out)
        except TraindxError as unreadable:
            errors.append(str(unreadable))
    judged = pipeline.judge(evidence, pipeline.Scope(Front.CASE, enough=False))
    return Diagnosis(
        case=watch.case,
        outcome=pipeline.outcome(judged.findings, enough=False),
        findings=ranked(judged.findings),
        healthy=tuple(evidence.of(InOrder)),
        not_examined=tuple(evidence.of(NotExamined)),
        pictures=tuple(evidence.of(Picture)),
        curves=tuple(evidence.of(Curve)),
        errors=(*errors, *judged.errors),
        provenance=pipeline.provenance(command),
    )


_ended_by: list[int] = []  # the signal that ended the work, if one did


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """SIGTERM and SIGHUP end the work as Ctrl-C does: the script is ended, files put back, the report written."""

    def interrupt(number: int, frame: Any) -> None:
        for once in numbers:  # what comes after the first one finds us at it
            signal.signal(once, signal.SIG_IGN)
        _ended_by[:] = [number]
        raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")

    _ended_by.clear()
    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    try:
        before = [signal.signal(number, interrupt) for number in numbers]
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _page(code: str) -> str:
    """A rule's documentation page, or nothing for a code of another version."""
    from traindx.rules import catalogue

    rules = catalogue()
    return rules[code].page if code in rules else ""


def writable(out: Path) -> None:
    """Make the output directory.

    Raises:
        UsageError: It cannot be made or written to.
    """
    try:
        make_private(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be made: {error.strerror}", expected="a directory for the report") from error
    if not os.access(out, os.W_OK):
        raise UsageError(f"{out} cannot be written to", expected="a directory for the report")


@contextmanager
def stdout_for_report_only(active: bool) -> Iterator[None]:
    """While active, whatever the user's code, its child processes or a library prints on stdout goes to stderr."""
    if not active:
        yield
        return
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
