"""The folder of a run: begun once, gone on with on request, never written over."""

from __future__ import annotations

from pathlib import Path

from traindx.errors import InputError, UsageError


def check_folder(out: Path, last: Path, *, resume: bool) -> None:
    """Refuse to resume what does not exist, and to begin where a run is.

    Args:
        out: Folder of the run.
        last: Its last checkpoint.
        resume: Whether the run is to go on.

    Raises:
        InputError: There is nothing to resume.
        UsageError: There is a run already.
    """
    if resume and not last.exists():
        raise InputError(f"{last} does not exist", expected="a run to resume", do="start it without --resume")
    if not resume and last.exists():
        raise UsageError(f"{out} holds a run already", expected="an empty folder", do="pass --resume, or another --out")


def say_interrupted(out: Path, last: Path) -> None:
    """Say how an interrupted run goes on."""
    print(
        f"interrupted; go on after the last whole epoch with --resume --out {out} and the same options"
        if last.exists()
        else "interrupted in the first epoch: nothing was stored"
    )
