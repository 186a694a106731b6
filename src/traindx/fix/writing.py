"""Writing a patch: only inside the repository one stands in, to a file that git knows and that has no changes.

A report is a file that somebody may have sent: the path in it decides nothing about where may be written.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from traindx.errors import InputError
from traindx.fix.patch import Patch


def write(patch: Patch, *, force: bool = False) -> None:
    """Write a patch to its file.

    Args:
        patch: What to write.
        force: Also to a file that has changes which are not committed. A file that git does not know is never written.

    Raises:
        InputError: The file lies outside this repository or behind a link, is not tracked by git, has changes, or is
            not as it was read.
    """
    path = inside(patch.path)
    check(path, force=force)
    if path.read_bytes() != patch.before:
        raise InputError(f"{patch.path} was changed in this very moment", do="try again")
    temporary = path.with_name(f".{path.name}.traindx")
    temporary.write_bytes(patch.after)
    os.chmod(temporary, path.stat().st_mode)
    temporary.replace(path)


def inside(path: Path) -> Path:
    """The absolute path of a file in the repository of the working directory, reached without any link.

    Raises:
        InputError: It is elsewhere: in another repository (a submodule included), outside of any, or behind a link.
    """
    here = Path.cwd().resolve()
    file = Path(os.path.normpath(here / path))
    top = _git(here / "x", "rev-parse", "--show-toplevel")
    if top is None:
        raise InputError(
            f"{path} is not tracked by git, so the change could not be taken back",
            expected="a working directory inside a git repository",
            do="git init, add and commit first, or apply the printed patch yourself",
        )
    root = Path(top.strip()).resolve()
    behind = next((part for part in (file, *file.parents) if part.is_symlink()), None)
    if behind is not None:
        raise InputError(f"{path} is reached through the symbolic link {behind}", expected="the file itself")
    theirs = _git(file, "rev-parse", "--show-toplevel") if file.parent.is_dir() else None
    if not file.is_relative_to(root) or theirs is None or Path(theirs.strip()).resolve() != root:
        raise InputError(
            f"{path} lies outside the repository {root}",
            expected="a file of the repository that you stand in",
            do="go there, examine again and apply it there, or apply the printed patch yourself",
        )
    return file


def check(path: Path, *, force: bool) -> None:
    """Refuse a file whose present state could not be brought back.

    Raises:
        InputError: It is not tracked by git, or has changes.
    """
    if _git(path, "ls-files", "--error-unmatch", "--", path.name) is None:
        raise InputError(
            f"{path} is not tracked by git, so the change could not be taken back",
            expected="a file that git tracks",
            do="git add and commit it first, or apply the printed patch yourself",
        )
    changes = _git(path, "status", "--porcelain", "--", path.name)
    if changes is None or (changes.strip() and not force):
        raise InputError(
            f"{path} has changes that are not committed",
            expected="a clean file",
            do="commit or restore it first, or give --force",
        )


def _git(path: Path, *arguments: str) -> str | None:
    """What git prints, in the folder of a file; None if it fails or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=path.parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
