"""``traindx examine SCRIPT.py``: somebody's program, unchanged, under observation.

:mod:`traindx.cli.examine` dispatches here when the target is a program (:mod:`traindx.host.programs`) and no case.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from traindx.cli import session
from traindx.errors import UsageError
from traindx.progress import Listener, Progress

if TYPE_CHECKING:
    from traindx.cli.session import Watch
    from traindx.diagnosis import Diagnosis
    from traindx.finding import Finding
    from traindx.fix import Patch
    from traindx.host.programs import Program
    from traindx.rules import Rule
    from traindx.trials.claim_files import ClaimList

MARK = "traindx |"


NOT_SETTLED = 3  # exit code where a claim was not settled

STEPS, SHORTEST = 300, 20.0  # iterations and seconds of the default window: both must have passed


@dataclass(frozen=True)
class ScriptOptions:
    """What the command line says about a script.

    Attributes:
        steps: Optimiser iterations to watch; 0 for no limit, None for :data:`STEPS` and whatever fits into
            :data:`SHORTEST` seconds: a small training is through its first stage, with a validation or two, in less.
        until: Time to watch after the first iteration, for example ``60s``; ``0s`` for no limit.
        stop: End the script after that.
        prove: Run it again, paired, with and without each finding's treatment.
        budget: Time for these runs.
        seeds: Numbers of the pairs; () for three, and more while time is left and something is not settled.
        metric: The figure that judges, or empty to recognise it.
        alongside: Other scripts with their arguments, or folders with evidence.
        protect: Put files that were there before, and that the script changes, back afterwards; None does that for a
            short look, and not for a run that goes on unwatched to its own end.
        suspects: What the user suspects, tried as the treatments of findings are.
        battery: Try what needs no finding in the time that is left.
        claims: Claimed causes; tried instead of what is found, unless that is to be proved as well.
        executor: Where these runs are made: ``processes``, ``ray`` or ``ray:ADDRESS``.
        workers: How many at once on a cluster; None for as many as this machine has cores.
    """

    steps: int | None = None
    until: str = "120s"
    stop: bool = True
    prove: bool = False
    budget: str = "3m"
    seeds: tuple[int, ...] = ()
    metric: str = ""
    alongside: tuple[str, ...] = ()
    protect: bool | None = None
    suspects: tuple[str, ...] = ()
    battery: bool = False
    claims: ClaimList | None = None
    executor: str = "processes"
    workers: int | None = None


def examine_program(
    program: Program,
    options: ScriptOptions,
    *,
    out: Path | None = None,
    as_json: bool = False,
    chosen: Sequence[Rule] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    command: str = "",
) -> int:
    """Run a program under observation, write the report, show it, and return the exit code.

    The script's own output stays visible (on stderr with ``--json``, whose stdout holds the diagnosis alone); our
    lines begin with a mark. Exit codes: 0 nothing above suspected, 1 findings, 2 wrong usage, 3 could not examine
    (it crashed, hung or never trained), 130 interrupted.

    Args:
        program: What is run.
        options: How long to watch.
        out: Evidence directory.
        as_json: Print the diagnosis as JSON on stdout, and nothing else there.
        chosen: Rules to apply.
        thresholds: Overrides.
        command: The command line, for provenance.

    Raises:
        UsageError: A time or a figure is not one.
    """
    from traindx.durations import seconds

    window = seconds(options.until)
    budget = seconds(options.budget)
    claims, suspects = options.claims, list(options.suspects)
    if claims is not None:
        suspects += [claim.what for claim in claims.claims if claim.what not in suspects]
    settled = True
    if (options.prove or suspects) and options.metric:
        from traindx.trials.script.scoring_metric import wanted_metric

        wanted_metric(options.metric)
    if options.steps is not None and options.steps < 0:
        raise UsageError(f"--steps {options.steps} is negative", expected="a number of iterations, or 0 for no limit")
    label = program.label
    directory = out or session.default_directory(label)

    def work(watch: Watch) -> Diagnosis:
        from traindx.host.examining import ProofOptions
        from traindx.host.examining import examine_script as observe

        nonlocal settled
        proof = None
        if options.prove or suspects or options.battery:
            proof = ProofOptions(
                budget=budget,
                seeds=options.seeds,
                metric=options.metric,
                suspects=tuple(suspects),
                battery=options.battery,
                findings=options.prove or claims is None,
                patch_of=tried_patch,
                executor=options.executor,
                workers=options.workers,
            )
        watch.begin(label, directory)
        if program.said:
            _say(program.said)
        _say(f"watching {program.target}: {_window(options, window)}; evidence goes to {directory}")
        diagnosis = observe(
            program.target,
            program.arguments,
            is_module=program.is_module,
            user_roots=program.user_roots,
            extras={**program.extras, "protect": options.stop if options.protect is None else options.protect},
            out=directory,
            steps=STEPS if options.steps is None else options.steps,
            least_seconds=SHORTEST if options.steps is None else 0.0,
            seconds=window,
            stop=options.stop,
            chosen=chosen,
            thresholds=thresholds,
            command=command,
            progress=_told(),
            proof=proof,
            alongside=options.alongside,
        )
        _say(_ended(diagnosis))
        for line in diagnosis.extras.get("protected", ()):
            _say(line)
        if claims is not None:
            from traindx.cli.claims import of_script

            settled = of_script(claims, diagnosis.trials, directory)
        return diagnosis

    code = session.run(work, label=label, out=directory, as_json=as_json, command=command)
    return code if settled or code > 1 else NOT_SETTLED


def tried_patch(finding: Finding) -> Patch | None:
    """The patch of a finding for a trial; None where there is none.

    Raises:
        TreatmentUnfitError: There is one that no trial can judge.
    """
    from libcst import ParserSyntaxError

    from traindx.fix.catalogue import NOT_TRIED, patch_for
    from traindx.trials.treatment import TreatmentUnfitError

    try:
        patch = patch_for(finding)
    except (OSError, ParserSyntaxError):
        return None
    if patch is not None and finding.code in NOT_TRIED:
        raise TreatmentUnfitError(NOT_TRIED[finding.code])
    return patch


def _window(options: ScriptOptions, window: float) -> str:
    parts = []
    if options.steps is None:
        parts.append(f"{STEPS} iterations and {SHORTEST:g} s")
    elif options.steps:
        parts.append(f"{options.steps} iterations")
    if window:
        parts.append(f"{window:g} s")
    if not parts:
        return "to its end"
    end = "then it is ended" if options.stop else "then it runs on unwatched"
    return f"for {', at most '.join(parts)}, {end}"


def _ended(diagnosis: Diagnosis) -> str:
    run = diagnosis.extras.get("script", {})
    return f"the script {run.get('ending', 'ended')} ({run.get('seconds', 0.0):.0f} s)"


def _told() -> Listener:
    """Every arm of a trial as a line of ours; a bar would fight with what the script prints."""
    last = ""

    def tell(progress: Progress) -> None:
        nonlocal last
        if progress.stage == "trials" and progress.message != last:
            last = progress.message
            left = f", {progress.seconds_left:.0f} s left" if progress.seconds_left is not None else ""
            _say(f"trial {progress.message}{left}")

    return tell


def _say(text: str) -> None:
    """One of our lines, marked, on stderr."""
    print(f"{MARK} {text}", file=sys.stderr, flush=True)
