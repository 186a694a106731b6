"""Run one arm of a paired comparison, and read what it gave."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindx.evidence.observed import Ending, ScriptRun
from traindx.host.restore import restore
from traindx.host.runner import Patience, run_script
from traindx.progress import Listener, silent
from traindx.trials.script.settings_files import arguments_with
from traindx.trials.treatments.registry import with_script_side
from traindx.watch.runtime.settings import ARM_FILE, BLIND_FILE, Settings

# the same hashes in every arm, and no treated run in the user's tracking account
ENVIRONMENT = {"PYTHONHASHSEED": "0", "WANDB_MODE": "disabled", "MPLBACKEND": "agg"}


OUTPUT = "output.txt"


@dataclass(frozen=True)
class Series:
    """One figure of an arm over its run; see :class:`~traindx.watch.interventions.readings.Figure`."""

    name: str
    source: str
    iterations: tuple[int, ...]
    values: tuple[float, ...]
    higher_is_better: bool | None = None
    evaluating: bool | None = None
    split: str = ""


@dataclass(frozen=True)
class ArmResult:
    """What one run of the script gave.

    Attributes:
        run: How the process ended.
        iterations: Optimiser iterations it made.
        loop_seconds: Wall time since its first iteration.
        stopped: It was ended at the end of its window.
        losses: Loss of every backward pass.
        not_finite: Where a loss stopped being a number, or empty.
        first_gradient: Fingerprint of the gradients at the first step.
        weights: Fingerprint of the weights at the end.
        buffers: Fingerprint of the buffers at the end.
        outputs: Fingerprint of all outputs without gradients.
        figures: Everything the script reported.
        captured: Figures of ours, by name.
        treatments: What each treatment did, by key: ``hits``, ``evaluations``, ``refused``.
        seeds: Seeds it used, by place.
        held: Numbers that the program held under a name before its first iteration, by the name's words.
        passes: Iteration and kind of every validation pass in which the network said something that no model made.
        imported: Source files of the user's that were loaded.
        lost: Files that could not be put back.
        broke: Why nothing can be concluded from it, or empty.
        unfinished: It was killed for lack of time and gave nothing.
    """

    run: ScriptRun
    iterations: int = 0
    loop_seconds: float = 0.0
    stopped: bool = False
    losses: tuple[float, ...] = ()
    not_finite: str = ""
    first_gradient: str = ""
    weights: str = ""
    buffers: str = ""
    outputs: str = ""
    figures: tuple[Series, ...] = ()
    captured: tuple[Series, ...] = ()
    treatments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seeds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    held: Mapping[str, Sequence[float]] = field(default_factory=dict)
    passes: tuple[tuple[int, str], ...] = ()
    imported: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    broke: str = ""
    unfinished: bool = False

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self.run.seconds


def run_arm(
    settings: Settings,
    *,
    directory: Path,
    pair: int,
    treatments: Sequence[Mapping[str, Any]] = (),
    iterations: int = 0,
    seconds: float = 0.0,
    longest: float = 0.0,
    limit: float = math.inf,
    control: ArmResult | None = None,
    progress: Listener = silent,
) -> ArmResult:
    """Run the script once more with some treatments. What it prints goes to ``output.txt`` of the arm.

    Args:
        settings: The script and its arguments.
        directory: Of this arm; made anew.
        pair: Number of the pair.
        treatments: What is in place.
        iterations: Optimiser iterations after which it ends, 0 for no limit.
        seconds: Seconds after the first iteration after which it ends, 0 for no limit.
        longest: It may go on for so many seconds instead where it has not validated yet.
        limit: Seconds after which it is given up.
        control: The control of this pair, whose seeds are used again.
        progress: Told about once a second.

    Raises:
        KeyboardInterrupt: After the script was ended and its files were put back.
    """
    directory.mkdir(parents=True, exist_ok=True)
    base = Path(settings.extras.get("directory") or ".")
    ours = Settings(
        target=settings.target,
        is_module=settings.is_module,
        arguments=arguments_with(settings.arguments, treatments, directory.resolve(), base),
        out=str(directory.resolve()),
        steps=iterations,
        seconds=seconds,
        watch=False,
        treatments=tuple(with_script_side(item) for item in treatments),
        seed=pair,
        user_roots=settings.user_roots,
        extras={
            **settings.extras,  # where and by which interpreter it runs
            "environment": {**ENVIRONMENT, **settings.extras.get("environment", {})},
            "seeds": {} if control is None else dict(control.seeds),
            "longest": longest,
        },
    )
    timed = _Limit(limit, progress)
    patience = Patience(first_step=max(limit, 5.0))
    late = False
    try:
        with (directory / OUTPUT).open("wb") as log:
            run = run_script(ours, patience=patience, output=log.fileno(), errors=log.fileno(), progress=timed)
    except _OutOfTime:
        late = True
        run = ScriptRun(target=settings.target, ending=Ending.KILLED, seconds=limit, message="the budget ended")
    finally:
        lost = tuple(restore(directory))
    if late:
        return ArmResult(run=run, unfinished=True, lost=lost)
    if run.ending is Ending.INTERRUPTED:
        raise KeyboardInterrupt
    return read_arm(directory, run, lost)


class _OutOfTime(Exception):  # noqa: N818  (not an error: the budget is the user's)
    """The arm took longer than there was time."""


class _Limit:
    """A listener that gives an arm up when its time is over."""

    def __init__(self, limit: float, then: Listener) -> None:
        self.limit, self.then = limit, then

    def __call__(self, progress: Any) -> None:
        if progress.done > self.limit:
            raise _OutOfTime
        self.then(progress)


def read_arm(directory: Path, run: ScriptRun, lost: tuple[str, ...] = ()) -> ArmResult:
    """Read what an arm wrote."""
    path = directory / ARM_FILE
    if not path.exists():
        spatially_invariant = directory / BLIND_FILE
        why = (
            spatially_invariant.read_text(encoding="utf-8")
            if spatially_invariant.exists()
            else why_broken(run) or "torch was never imported"
        )
        return ArmResult(run=run, broke=why, lost=lost)
    fields = json.loads(path.read_text(encoding="utf-8"))
    stopped = run.ending is Ending.STOPPED
    broke = why_broken(run)
    captured: dict[str, list[tuple[int, float]]] = {}
    for reading in fields["captured"]:
        captured.setdefault(reading["name"], []).append((reading["iteration"], reading["value"]))
    return ArmResult(
        run=run,
        iterations=fields["iterations"],
        loop_seconds=fields["loop_seconds"],
        stopped=stopped,
        losses=tuple(fields["losses"]),
        not_finite=fields["not_finite"],
        first_gradient=fields["first_gradient"],
        weights=fields["weights"],
        buffers=fields["buffers"],
        outputs=fields["outputs"],
        figures=tuple(
            Series(
                one["name"],
                one["source"],
                tuple(one["iterations"]),
                tuple(one["values"]),
                one["higher_is_better"],
                one["evaluating"],
                one.get("split", ""),
            )
            for one in fields["figures"]
        ),
        captured=tuple(
            Series(name, "captured", tuple(at for at, _ in found), tuple(value for _, value in found))
            for name, found in captured.items()
        ),
        treatments={one["key"]: one for one in fields["treatments"]},
        seeds=fields["seeds"],
        held=fields.get("held", {}),
        passes=tuple((int(at), str(kind)) for one in fields["treatments"] for at, kind in one.get("passes", ())),
        imported=tuple(fields["imported"]),
        lost=lost,
        broke=broke,
    )


def why_broken(run: ScriptRun) -> str:
    """A sentence about a run that did not end as it should; empty if it did."""
    if run.ending in (Ending.FINISHED, Ending.STOPPED):
        return ""
    place = f" at {run.where}" if run.where is not None else ""
    text = run.message.split("\n", maxsplit=1)[0][:200]
    return f"{text}{place}" if text else run.ending.value


def same_run(one: ArmResult, other: ArmResult) -> bool:
    """True if another seed gave the very same run: it is no second one. (Weights that are all NaN agree by chance.)"""
    return bool(one.weights) and one.weights == other.weights and one.losses[:1] == other.losses[:1]
