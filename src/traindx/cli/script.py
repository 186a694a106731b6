"""``traindx examine SCRIPT.py``: somebody's script, unchanged, under observation.

:mod:`traindx.cli.examine` dispatches here when the target is a Python file without ``:attribute``, or ``-m MODULE``.
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
    from traindx.rules import Rule

MARK = "traindx |"


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
        seeds: Numbers of the pairs.
        metric: The figure that judges, or empty to recognise it.
        alongside: Other scripts with their arguments, or folders with evidence.
    """

    steps: int | None = None
    until: str = "120s"
    stop: bool = True
    prove: bool = False
    budget: str = "3m"
    seeds: tuple[int, ...] = (0, 1, 2)
    metric: str = ""
    alongside: tuple[str, ...] = ()


def is_script(target: str) -> bool:
    """True for ``path/to/train.py``, False for ``file.py:case`` and ``recipe:NAME``."""
    return target.endswith(".py") and Path(target).suffix == ".py"


def examine_script(
    target: str,
    arguments: Sequence[str],
    options: ScriptOptions,
    *,
    is_module: bool = False,
    out: Path | None = None,
    as_json: bool = False,
    chosen: Sequence[Rule] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    command: str = "",
) -> int:
    """Run a script under observation, write the report, show it, and return the exit code.

    The script's own output stays visible (on stderr with ``--json``, whose stdout holds the diagnosis alone); our
    lines begin with a mark. Exit codes: 0 nothing above suspected, 1 findings, 2 wrong usage, 3 could not examine
    (it crashed, hung or never trained), 130 interrupted.

    Args:
        target: Script, or module name.
        arguments: The script's arguments.
        options: How long to watch.
        is_module: ``target`` is a module name.
        out: Evidence directory.
        as_json: Print the diagnosis as JSON on stdout, and nothing else there.
        chosen: Rules to apply.
        thresholds: Overrides.
        command: The command line, for provenance.

    Raises:
        UsageError: The script, the module or a time does not exist.
    """
    from traindx.durations import seconds
    from traindx.host.examining import check_target

    check_target(target, is_module=is_module)
    window = seconds(options.until)
    budget = seconds(options.budget)
    if options.prove and options.metric:
        from traindx.trials.script.scoring_metric import wanted_metric

        wanted_metric(options.metric)
    if options.steps is not None and options.steps < 0:
        raise UsageError(f"--steps {options.steps} is negative", expected="a number of iterations, or 0 for no limit")
    label = target.rsplit(".", maxsplit=1)[-1] if is_module else Path(target).stem
    directory = out or session.default_directory(label)

    def work(watch: Watch) -> Diagnosis:
        from traindx.host.examining import ProofOptions
        from traindx.host.examining import examine_script as observe

        proof = None
        if options.prove:
            proof = ProofOptions(budget=budget, seeds=options.seeds, metric=options.metric)
        watch.begin(label, directory)
        _say(f"watching {target}: {_window(options, window)}; evidence goes to {directory}")
        diagnosis = observe(
            target,
            arguments,
            is_module=is_module,
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
        return diagnosis

    return session.run(work, label=label, out=directory, as_json=as_json, command=command)


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
