"""Scripts that belong together: one trains, another uses what it trained. Each is run and judged by itself, knowing how
the others trained; what is found in any of them is told of all."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from traindx import pipeline
from traindx.diagnosis import Diagnosis, ranked
from traindx.errors import UsageError
from traindx.evidence import Evidence
from traindx.evidence.observed import ScriptRun
from traindx.evidence.sampled import NoisedDraws
from traindx.watch.runtime.sink import NAME


@dataclass(frozen=True)
class Companion:
    """Another script with its arguments, or the evidence of an earlier run.

    Attributes:
        script: Path of the script; empty for evidence.
        arguments: Its arguments.
        evidence: Folder of the evidence; where it will be written, for a script.
    """

    script: str = ""
    arguments: tuple[str, ...] = ()
    evidence: Path = Path()


def companions(texts: Iterable[str], directory: Path) -> tuple[Companion, ...]:
    """What was asked for: ``"infer.py --weights best.pt"``, or a folder in which an earlier run left its evidence.

    Args:
        texts: One a companion.
        directory: Evidence folder of the main script.

    Raises:
        UsageError: It is neither a script nor such a folder.
    """
    found = []
    for number, text in enumerate(texts, 1):
        if (Path(text) / NAME).is_file():
            found.append(Companion(evidence=Path(text)))
            continue
        script, *arguments = shlex.split(text) or [""]
        if not script.endswith(".py") or not Path(script).is_file():
            raise UsageError(
                f"{text!r} is neither a script nor evidence",
                expected=f'--with "infer.py --its arguments", or a folder with {NAME}',
            )
        found.append(Companion(script, tuple(arguments), directory / f"with-{number}"))
    return tuple(found)


def trained_in(folders: Iterable[Path]) -> list[NoisedDraws]:
    """How networks were trained, out of the evidence in some folders."""
    return [
        record for folder in folders if (folder / NAME).is_file() for record in Evidence.load(folder).of(NoisedDraws)
    ]


def together(main: Diagnosis, others: Sequence[tuple[ScriptRun, Diagnosis]]) -> Diagnosis:
    """One diagnosis of scripts that belong together; what two of them show at one line is told once."""
    findings = list(main.findings)
    errors = list(main.errors)
    for run, other in others:
        known = {(finding.code, finding.location) for finding in findings}
        findings += [finding for finding in other.findings if (finding.code, finding.location) not in known]
        errors += [f"{run.target}: {error}" for error in other.errors]
    enough = all(one.coverage is not None and one.coverage.enough for one in (main, *(other for _, other in others)))
    return main.model_copy(
        update={
            "findings": ranked(findings),
            "errors": tuple(errors),
            "outcome": pipeline.outcome(findings, enough=enough),
            "healthy": (
                *main.healthy,
                *(one for _, other in others for one in other.healthy if one not in main.healthy),
            ),
        }
    )
