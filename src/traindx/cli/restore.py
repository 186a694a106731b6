"""``traindx restore``: what a run that was killed left changed is put back; every other command does so first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = ("traindx restore", "traindx restore ../other-project")


def restore(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where traindx was called when it was killed")
    ] = Path(),
) -> None:
    """Put back what a traindx that was killed left changed: files, processes, checked-out revisions.

    Every traindx command does this first, in the folder in which it is called. A file that somebody changed since is
    left as it is, and what was there before is kept beside it; what the run wrote is kept too. Nothing is deleted.

    Exit code: 0 everything is as before, 3 a file could not be put back or was changed since.
    """
    from traindx.host.restore import recover

    done = recover(folder)
    for line in done.lines() or ["nothing to put back"]:
        print(line)
    raise typer.Exit(3 if done.lost or done.conflicts else 0)


def first_of_all() -> None:
    """Before any other work: clean up after runs of this folder that were killed."""
    if not (Path("traindx-out") / ".pending").is_dir():
        return
    from traindx.host.restore import recover

    for line in recover().lines():
        print(f"traindx | after a run that was killed: {line}", file=sys.stderr)
