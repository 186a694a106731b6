"""``traindx runs``: the runs of this folder, and how to be rid of them."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from traindx.cli import run_folders
from traindx.errors import UsageError

EXAMPLES = ("traindx runs", "traindx runs --clean --keep 3")


def runs(
    clean: Annotated[bool, typer.Option("--clean", help="Remove runs, the oldest first")] = False,
    keep: Annotated[int, typer.Option(metavar="N", min=0, help="With --clean: leave so many of the newest")] = 1,
) -> None:
    """List the runs of this folder (traindx-out), or remove old ones.

    A run that goes on is never removed, nor one that holds files which have not been put back.
    """
    found = run_folders.all_runs()
    if not found:
        print(f"no runs in {run_folders.HOME}")
        return
    if not clean:
        for folder in found:
            print(_line(folder))
        return
    for folder in found[keep:]:
        if run_folders.in_use(folder) or run_folders.owes(folder):
            print(f"left: {folder} is in use, or holds files that are not put back (traindx restore)")
            continue
        if folder.is_symlink():
            raise UsageError(f"{folder} is a link", expected="a folder that traindx made")
        shutil.rmtree(folder)
        print(f"removed: {folder}")
    run_folders.point_at_latest()


def _line(folder: Path) -> str:
    when = datetime.fromtimestamp(run_folders.age(folder)).strftime("%Y-%m-%d %H:%M")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6
    what = "goes on" if run_folders.in_use(folder) else "no report"
    for name, key in (("diagnosis.json", "outcome"), ("comparison.json", "verdict")):
        try:
            what = str(json.loads((folder / name).read_text(encoding="utf-8"))[key])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return f"{when}  {size:8.1f} MB  {what:<18}  {folder}"
