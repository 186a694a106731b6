"""Examine a script: run it under observation, judge what was seen, and prove it by paired runs where that is asked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.diagnosis import Diagnosis
from traindx.errors import UsageError
from traindx.evidence import Evidence
from traindx.evidence.observed import Ending, ScriptRun
from traindx.host.alongside import Companion, companions, together, trained_in
from traindx.host.diagnose import diagnose
from traindx.host.restore import Restored, put_back
from traindx.host.runner import Patience, run_script
from traindx.progress import Listener, silent
from traindx.rules import Rule
from traindx.watch.runtime.settings import Settings
from traindx.watch.runtime.sink import NAME, compact

if TYPE_CHECKING:
    from traindx.trials.script.patches import PatchOf
    from traindx.trials.script.suspects import Suspect


@dataclass(frozen=True)
class ProofOptions:
    """How findings are to be proved.

    Attributes:
        budget: Seconds for all paired runs together.
        seeds: Numbers of the pairs; () for three, and more while time is left and something is not settled.
        metric: Name of the figure that judges, with ``:higher`` or ``:lower`` where its name does not tell; empty to
            recognise it.
        steps: Optimiser iterations of a run, 0 for as many as are watched.
        seconds: Seconds of the first run, 0 for as many as are watched.
        suspects: What the user suspects; see :mod:`traindx.trials.script.suspects`.
        battery: Try what needs no finding in the time that is left.
        findings: Try what is found.
        patch_of: Makes the patch of a finding, which is tried where no treatment from outside can be.
        executor: Where runs are made: ``processes`` (one after the other, here), ``ray`` or ``ray:ADDRESS``.
        workers: Runs at once on a cluster; as many as this machine has cores by default.
    """

    budget: float = 180.0
    seeds: tuple[int, ...] = ()
    metric: str = ""
    steps: int = 0
    seconds: float = 0.0
    suspects: tuple[str, ...] = ()
    battery: bool = False
    findings: bool = True
    patch_of: PatchOf | None = None
    executor: str = "processes"
    workers: int | None = None


def examine_script(
    target: str,
    arguments: Sequence[str] = (),
    *,
    is_module: bool = False,
    out: Path | str,
    steps: int = 300,
    least_seconds: float = 0.0,
    seconds: float = 120.0,
    stop: bool = True,
    every: int = 0,
    chosen: Sequence[Rule] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    script_output: int | None = None,
    patience: Patience | None = None,
    progress: Listener = silent,
    command: str = "",
    proof: ProofOptions | None = None,
    alongside: Sequence[str] = (),
    user_roots: Sequence[str] = (),
    extras: Mapping[str, Any] | None = None,
) -> Diagnosis:
    """Run somebody's script unchanged, under observation, and say what is wrong with its training.

    Args:
        target: Path of the script, or a module's name with ``is_module``.
        arguments: Its arguments.
        is_module: Run it as ``python -m`` does.
        out: Evidence directory.
        steps: Optimiser iterations to watch, 0 for no limit.
        least_seconds: Seconds to watch after the first iteration even where `steps` come sooner.
        seconds: Seconds to watch after the first iteration, 0 for no limit.
        stop: End the script after that; otherwise it runs on unwatched.
        every: Watch one iteration in so many; 0 for dense first, then geometric.
        chosen: Rules to apply, all by default.
        thresholds: Overrides by code.
        script_output: File descriptor for the script's stdout.
        patience: How long to wait before ending it by force.
        progress: Told about once a second.
        command: The command line, for provenance.
        proof: Prove what is found by paired runs.
        alongside: Other scripts with their arguments, run after it (:func:`traindx.host.alongside.companions`), or
            folders with the evidence of earlier runs.
        user_roots: Folders whose files count as the user's although they are installed; of a module its package.
        extras: Where and how it runs, as :attr:`traindx.host.programs.Program.extras` gives it.

    Returns:
        The diagnosis, whatever the script did.

    Raises:
        UsageError: There is no such script or module.
        KeyboardInterrupt: After the diagnosis of what was seen was written.
    """
    check_target(target, is_module=is_module)
    directory = Path(out).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    others = companions(alongside, directory)
    (directory / NAME).unlink(missing_ok=True)
    settings = Settings(
        target=target,
        is_module=is_module,
        arguments=tuple(arguments),
        out=str(directory),
        steps=steps,
        least_seconds=least_seconds,
        seconds=seconds,
        stop=stop,
        every=every,
        user_roots=tuple(user_roots) or (roots_of(target) if is_module else ()),
        extras=dict(extras or {}),
    )
    suspected = _parsed(proof.suspects if proof is not None else (), settings)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    restored = Restored()
    watched: list[tuple[ScriptRun, Path]] = []
    try:
        run = run_script(settings, patience=patience, output=script_output, progress=progress)
        compact(directory)
        if run.ending is not Ending.INTERRUPTED:
            # they use what the first one wrote, so nothing is put back before they have ended
            watched += [
                (_run_companion(other, settings, patience, script_output, progress), other.evidence)
                for other in others
                if other.script
            ]
    finally:
        for place in (*(other.evidence for other in reversed(others) if other.script), directory):
            restored.add(put_back(place))
    folders = [directory, *(other.evidence for other in others)]

    def judged(of: ScriptRun, where: Path) -> Diagnosis:
        known = trained_in(folder for folder in folders if folder != where)
        return diagnose(
            where,
            of,
            chosen=chosen,
            thresholds=thresholds,
            command=command,
            started=started,
            trained_elsewhere=known,
        )

    found = [(of, judged(of, where)) for of, where in watched]
    diagnosis = judged(run, directory)
    if found:
        diagnosis = together(diagnosis, found)
    lines = restored.lines()
    if lines:
        diagnosis = diagnosis.model_copy(update={"extras": {**diagnosis.extras, "protected": lines}})
    if lines or found:
        (directory / "diagnosis.json").write_text(diagnosis.model_dump_json(indent=2), encoding="utf-8")
    if run.ending is Ending.INTERRUPTED:
        raise KeyboardInterrupt
    if proof is None:
        return diagnosis
    from traindx.trials.script.prove import Length, Proof, prove  # statistics and torch: seconds, only for who proves

    length = Length(proof.steps or steps, proof.seconds or seconds)
    trials = Proof(
        settings,
        diagnosis.findings,
        Evidence.load(directory),
        directory,
        proof.budget,
        seeds=proof.seeds,
        metric=proof.metric,
        length=length,
        suspects=suspected,
        battery=proof.battery,
        listen=progress,
        patch_of=proof.patch_of,
        propose=proof.findings,
        executor=proof.executor,
        workers=proof.workers,
    )
    return prove(diagnosis, trials)


def _run_companion(
    companion: Companion, main: Settings, patience: Patience | None, output: int | None, progress: Listener
) -> ScriptRun:
    """Run another script as the main one was run."""
    companion.evidence.mkdir(parents=True, exist_ok=True)
    (companion.evidence / NAME).unlink(missing_ok=True)
    settings = Settings(
        target=companion.script,
        arguments=companion.arguments,
        out=str(companion.evidence),
        steps=main.steps,
        seconds=main.seconds,
        stop=main.stop,
        every=main.every,
        extras={
            name: value for name, value in main.extras.items() if name in ("home", "protect", "environment", "python")
        },
    )
    run = run_script(settings, patience=patience, output=output, progress=progress)
    compact(companion.evidence)
    return run


def _parsed(texts: Sequence[str], settings: Settings) -> tuple[Suspect, ...]:
    """What the user suspects, refused before anything is run where it is not understood."""
    if not texts:
        return ()
    from traindx.trials.script.suspects import parse

    script = "" if settings.is_module else settings.target
    return tuple(parse(text, script, settings.arguments) for text in texts)


def check_target(target: str, *, is_module: bool) -> None:
    """Refuse what cannot be run, before anything is started.

    Raises:
        UsageError: There is no such script or module.
    """
    if not is_module:
        if not Path(target).is_file():
            raise UsageError(f"{target} does not exist", expected="a Python script, or -m MODULE")
        return
    try:
        found = find_spec_in_cwd(target)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{target!r} cannot be found: {error}", expected="a module as for `python -m`") from error
    if not found:
        raise UsageError(f"there is no module {target!r}", expected="a module as for `python -m`")


def find_spec_in_cwd(name: str) -> bool:
    """True if ``python -m name`` in the working directory would find something; nothing of it is imported."""
    top = name.split(".", maxsplit=1)[0]
    here = Path.cwd() / Path(*name.split("."))
    if here.with_suffix(".py").is_file() or (here / "__main__.py").is_file():
        return True
    return find_spec(top) is not None


def roots_of(module: str) -> tuple[str, ...]:
    """The folder of a module's package: its files count as the user's, installed or not."""
    top = module.split(".", maxsplit=1)[0]
    spec = None if (Path.cwd() / top).exists() else find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return ()
    return tuple(os.path.realpath(place) for place in spec.submodule_search_locations)
