"""Writing a patch: only to a file that git knows and that has no changes of its own."""

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
        InputError: The file is not tracked by git, has changes, or is not as it was read.
    """
    path = patch.path.resolve()
    check(path, force=force)
    if path.read_bytes() != patch.before:
        raise InputError(f"{patch.path} was changed in this very moment", do="try again")
    temporary = path.with_name(f".{path.name}.traindx")
    temporary.write_bytes(patch.after)
    os.chmod(temporary, path.stat().st_mode)
    temporary.replace(path)


def check(path: Path, *, force: bool) -> None:
    """Refuse a file whose present state could not be brought back.

    Raises:
        InputError: It is not tracked by git, or has changes.
    """
    if path.is_symlink():
        raise InputError(f"{path} is a symbolic link", expected="the file itself")
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
