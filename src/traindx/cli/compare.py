"""``traindx compare``: does a claimed fix cure, help, do nothing, harm or break?"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindx.errors import UsageError

if TYPE_CHECKING:
    from traindx.cli.revisions import Checkout
    from traindx.progress import Progress
    from traindx.trials.claims import Comparison
    from traindx.trials.script.comparing import Version

EXAMPLES = (
    "traindx compare --before HEAD~1 --after . train.py -- --epochs 3",
    "traindx compare --before old.yaml --after new.yaml train.py -- --config {}",
    "traindx compare --before cases.py:faulty --after cases.py:fixed",
)
CONFIGURATIONS = (".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".conf")
PLACE = "{}"


def compare(
    before: Annotated[
        str, typer.Option(metavar="REV|PATH", help="Without the fix: a git revision, folder, script, file or case")
    ],
    after: Annotated[str, typer.Option(metavar="REV|PATH", help="With it; . is the working tree, uncommitted or not")],
    script: Annotated[
        str | None, typer.Argument(metavar="[SCRIPT]", help="Script of revisions, folders or configurations")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS]", help="Its arguments; {} is the configuration's path")
    ] = None,
    budget: Annotated[str, typer.Option(metavar="TIME", help="Time for all runs together")] = "3m",
    seeds: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Paired seeds that fit (3, and more while time is left)")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="The figure that judges, as the script reports it; NAME:lower")
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", min=0, help="Script: iterations of a run; 0 for no limit")] = 300,
    until: Annotated[str, typer.Option(metavar="TIME", help="Script: time of a run; 0s for no limit")] = "120s",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Runs and comparison.json (traindx-out/compare by default)")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON, and nothing else")] = False,
) -> None:
    """Judge a claimed fix by paired runs: cures, helps, no effect, harms, breaks, or inconclusive.

    Both versions run with the same seeds and the same order of data, and are judged by the script's own validation
    metric. --before and --after are git revisions or folders (each with SCRIPT in it), two scripts, two configuration
    files (their path takes the place of {} in ARGS), or two cases FILE.py:case. Revisions are checked out into a
    temporary folder that is removed again; files that the script writes are put back after every run.

    Exit code: 0 cures or helps, 1 no effect, harms or breaks, 2 wrong usage or input, 3 inconclusive or could not be
    compared, 130 interrupted.
    """
    from traindx.cli import run_folders as runs
    from traindx.cli import session
    from traindx.durations import seconds

    limit, window = seconds(budget), seconds(until)
    if limit <= 0:
        raise UsageError(f"--budget {budget} leaves no time for a run", expected="a time such as 3m")
    rest = [*([script] if script is not None else []), *(arguments or [])]
    kind = kind_of(before, after)
    pairs = tuple(range(seeds or 0))
    directory = out or runs.own_directory("compare")
    session.writable(directory)
    with ExitStack() as stack:
        stack.enter_context(session.ended_by_signal())
        stack.enter_context(runs.claimed(directory))
        stack.enter_context(session.stdout_for_report_only(as_json))
        if kind == "cases":
            if rest:
                raise UsageError(f"two cases take no script, but got {' '.join(rest)}", expected="nothing after them")
            comparison, interrupted = _cases(before, after, budget, pairs)
        else:
            pair = _versions(kind, before, after, rest, stack)
            work = _work(pair, directory, limit, pairs, metric or "", steps, window)
            comparison, interrupted = work
        text = comparison.model_dump_json(indent=2)
        (directory / "comparison.json").write_text(text, encoding="utf-8")
    if as_json:
        sys.stdout.write(comparison.model_dump_json(indent=2, ensure_ascii=True) + "\n")
    else:
        from traindx.cli.comparison_page import render

        render(comparison, before, after)
        print(f"written: {directory / 'comparison.json'}", file=sys.stderr)
    raise typer.Exit(130 if interrupted else exit_code(comparison))


def exit_code(comparison: Comparison) -> int:
    """0 for a fix that is one, 1 for one that is none, 3 where that is open."""
    word = comparison.verdict.value
    if word in ("cures", "helps"):
        return 0
    return 3 if word == "inconclusive" else 1


def kind_of(before: str, after: str) -> str:
    """``cases``, ``scripts``, ``configurations`` or ``trees``.

    Raises:
        UsageError: The two are not of one kind, or do not exist.
    """
    kinds = [_kind(text) for text in (before, after)]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"--before {before} is a {kinds[0].removesuffix('s')} and --after {after} a {kinds[1].removesuffix('s')}",
            expected="two of one kind",
        )
    return kinds[0]


def _kind(text: str) -> str:
    from traindx.cli.revisions import is_revision

    path, colon, name = text.rpartition(":")
    if colon and (path.endswith(".py") or path == "recipe") and name:
        return "cases"
    if Path(text).is_file():
        if text.endswith(".py"):
            return "scripts"
        if Path(text).suffix in CONFIGURATIONS:
            return "configurations"
    if Path(text).is_dir() or is_revision(text):
        return "trees"
    raise UsageError(
        f"{text!r} is neither a file or folder here nor a git revision",
        expected="a revision, a folder, a script, a configuration file or FILE.py:case",
    )


# -- cases ---------------------------------------------------------------------------------------------------------


def _cases(before: str, after: str, budget: str, seeds: tuple[int, ...]) -> tuple[Comparison, bool]:
    from traindx.cli.target import load_case
    from traindx.trials.compare import compare as compare_cases

    cases = [load_case(text) for text in (before, after)]
    return compare_cases(*cases, budget=budget, seeds=seeds, progress=_told()), False


# -- scripts -------------------------------------------------------------------------------------------------------


def _versions(kind: str, before: str, after: str, rest: list[str], stack: ExitStack) -> tuple[Version, Version]:
    """Both versions, with whatever has to be checked out for them.

    Raises:
        UsageError: There is no script, or it does not exist in one of them.
    """
    from traindx.trials.script.comparing import Version
    from traindx.watch.runtime.settings import Settings

    if kind == "scripts":
        settings = [Settings(target=text, arguments=tuple(rest)) for text in (before, after)]
        return Version(before, settings[0]), Version(after, settings[1])
    if not rest or not rest[0].endswith(".py"):
        raise UsageError(f"there is no script to run with two {kind}", expected="SCRIPT.py before its arguments")
    script, given = rest[0], rest[1:]
    if kind == "configurations":
        if not Path(script).is_file():
            raise UsageError(f"{script} does not exist", expected="a script")
        if not any(PLACE in text for text in given):
            raise UsageError(
                "the arguments do not say where the configuration goes", expected="{} in them: -- --config {}"
            )
        made = []
        for text in (before, after):
            filled = tuple(argument.replace(PLACE, text) for argument in given)
            made.append(Version(text, Settings(target=script, arguments=filled)))
        return made[0], made[1]
    relative = os.path.relpath(script) if os.path.isabs(script) else script
    return _tree(before, relative, given, stack), _tree(after, relative, given, stack)


def _tree(text: str, script: str, arguments: list[str], stack: ExitStack) -> Version:
    """A version that lies in a folder: the working tree, another folder, or a revision that is checked out."""
    from traindx.cli.revisions import checked_out
    from traindx.trials.script.comparing import Version
    from traindx.watch.runtime.settings import Settings

    checkout: Checkout | None = None
    if Path(text).is_dir():
        folder = Path(text).resolve()
    else:
        checkout = stack.enter_context(checked_out(text))
        folder = checkout.folder
    if not (folder / script).is_file():
        raise UsageError(f"there is no {script} in {text}", expected="a script that both versions have")
    extras: dict[str, Any] = {"directory": str(folder)}
    if checkout is not None:
        extras["environment"] = checkout.environment
    settings = Settings(target=script, arguments=tuple(arguments), extras=extras)
    return Version(text, settings, checkout.foreign) if checkout is not None else Version(text, settings)


def _work(
    pair: tuple[Version, Version],
    directory: Path,
    budget: float,
    seeds: tuple[int, ...],
    metric: str,
    steps: int,
    window: float,
) -> tuple[Comparison, bool]:
    from traindx.trials.script.comparing import ScriptComparison
    from traindx.trials.script.scoring_metric import wanted_metric

    if metric:
        wanted_metric(metric)
    work = ScriptComparison(
        *pair,
        directory=directory,
        budget=budget,
        seeds=seeds,
        metric=metric,
        steps=steps,
        seconds=window,
        listen=_told(),
    )
    try:
        return work.run(), False
    except KeyboardInterrupt:
        work.complete = False
        work.notes.append("interrupted: runs that were not finished are left out")
        return work.result(), True


def _told() -> Any:
    """A line of ours for every run that begins."""
    last = ""

    def tell(progress: Progress) -> None:
        nonlocal last
        if progress.message != last:
            last = progress.message
            left = f", {progress.seconds_left:.0f} s left" if progress.seconds_left is not None else ""
            print(f"traindx | {progress.message}{left}", file=sys.stderr, flush=True)

    return tell
