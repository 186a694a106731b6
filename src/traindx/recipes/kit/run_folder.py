"""The folder of a run: begun once, gone on with on request, never written over.

Files of every recipe: ``last.ckpt`` (the last whole epoch, which ``--resume`` goes on from), ``best.ckpt``, ``log/``,
``red_flags.txt`` and ``data/`` (the verification of the data). A recipe with stages keeps the checkpoints of each in a
folder of its own; one that tunes after training leaves ``model.ckpt`` beside them.
"""

from __future__ import annotations

from pathlib import Path

from traindx.errors import InputError, UsageError

LAST, BEST, MODEL, RED_FLAGS = "last.ckpt", "best.ckpt", "model.ckpt", "red_flags.txt"


def check_folder(out: Path, *, resume: bool, stages: tuple[str, ...] = ()) -> None:
    """Refuse to resume what does not exist, and to begin where a run is.

    Args:
        out: Folder of the run.
        resume: Whether the run is to go on.
        stages: Folders of the stages, where a recipe has some.

    Raises:
        InputError: There is nothing to resume.
        UsageError: There is a run already.
    """
    there = [path for path in (out / stage / LAST for stage in stages or ("",)) if path.exists()]
    if resume and not there:
        raise InputError(f"{out} holds no run", expected="a run to resume", do="start it without --resume")
    if there and not resume:
        raise UsageError(f"{out} holds a run already", expected="an empty folder", do="pass --resume, or another --out")


def checkpoint_in(path: Path) -> Path:
    """The checkpoint that a run is used by: the one that is named, or that of a folder.

    Raises:
        InputError: The folder holds none.
    """
    if not path.is_dir():
        return path
    stages = sorted(path.glob(f"stage*/{BEST}"), key=lambda best: int(best.parent.name.removeprefix("stage")))
    for found in (path / MODEL, path / BEST, *stages[-1:]):
        if found.exists():
            return found
    raise InputError(f"{path} holds no checkpoint", expected=f"the folder of a run, with {MODEL} or {BEST}")


def say_interrupted(out: Path, last: Path, what: str = "") -> None:
    """Say how an interrupted run goes on.

    Args:
        out: Folder of the run.
        last: Its last checkpoint, or that of the stage that was interrupted.
        what: The stage.
    """
    where = f" in {what}" if what else ""
    print(
        f"interrupted{where}; go on after the last whole epoch with --resume --out {out} and the same options"
        if last.exists()
        else f"interrupted in the first epoch{f' of {what}' if what else ''}: nothing of it was stored",
        flush=True,
    )
