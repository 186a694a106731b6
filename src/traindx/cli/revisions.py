"""Git revisions as folders: a temporary worktree, and what git does not know of (data) linked into it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from traindx.errors import UsageError
from traindx.host.restore import register, release

MOST_FILES = 2000  # looked at in an untracked folder for Python files


@dataclass(frozen=True)
class Checkout:
    """A revision that lies in a folder.

    Attributes:
        folder: Where a script of the working directory is to be run instead.
        root: Top of the worktree.
        original: Top of the repository it comes from.
        linked: What was linked into it, relative to the top.
    """

    folder: Path
    root: Path
    original: Path
    linked: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Its own packages come before those of an editable installation of the repository."""
        known = os.environ.get("PYTHONPATH", "")
        paths = [str(self.folder), str(self.root)]
        if (self.root / "src").is_dir():
            paths.append(str(self.root / "src"))
        return {"PYTHONPATH": os.pathsep.join([*dict.fromkeys(paths), *([known] if known else [])])}

    def foreign(self, files: Sequence[str]) -> str:
        """A note on source files that a run took from the working tree instead."""
        tops = [str(self.root / name) for name in self.linked]
        allowed = tuple(os.path.realpath(top) for top in tops)
        strayed = [
            os.path.relpath(file, self.original)
            for file in files
            if file.startswith(f"{self.original}{os.sep}") and not file.startswith((f"{self.root}{os.sep}", *allowed))
        ]
        if not strayed:
            return ""
        return (
            f"{', '.join(strayed[:3])} was imported from the working tree and not from the revision, so what changed "
            "in it was not compared"
        )


def git(arguments: Sequence[str], folder: Path | None = None) -> str:
    """Run git and return what it prints.

    Raises:
        UsageError: Git is missing or says no.
    """
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed", expected="two scripts or two folders instead of revisions") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise UsageError(f"git {arguments[0]}: {lines[0]}", expected="a revision of a git repository, or a path")
    return done.stdout


def is_revision(text: str) -> bool:
    """True if git knows a commit by that name here."""
    try:
        git(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}"])
    except UsageError:
        return False
    return True


@contextmanager
def checked_out(revision: str) -> Iterator[Checkout]:
    """A worktree of a revision for as long as the context lasts; it is removed whatever happens inside.

    Raises:
        UsageError: The revision does not exist, or git cannot make a worktree.
    """
    top = Path(git(["rev-parse", "--show-toplevel"]).strip()).resolve()
    commit = git(["rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}"]).strip()
    inside = Path.cwd().resolve().relative_to(top)
    home = Path(tempfile.mkdtemp(prefix="traindx-compare-")).resolve()
    root = home / "tree"
    note = register(home, worktree=str(root), repository=str(top))  # for whoever comes after a kill
    linked: tuple[str, ...] = ()
    try:
        git(["worktree", "add", "--detach", "--quiet", str(root), commit], top)
        linked = link_untracked(top, root)
        folder = root / inside
        folder.mkdir(parents=True, exist_ok=True)
        yield Checkout(folder, root, top, linked)
    finally:
        for link in linked:
            with suppress(OSError):
                (root / link).unlink()
        with suppress(UsageError):
            git(["worktree", "remove", "--force", "--force", str(root)], top)
        shutil.rmtree(home, ignore_errors=True)
        with suppress(UsageError):
            git(["worktree", "prune"], top)
        release(note)


def link_untracked(top: Path, root: Path) -> tuple[str, ...]:
    """Link what git ignores or does not track (data, weights) into a worktree; no Python code, which would stray in."""
    listed = git(["status", "--porcelain", "-z", "--ignored", "--untracked-files=normal"], top).split("\0")
    linked = []
    for entry in listed:
        state, name = entry[:2], entry[3:].rstrip("/")
        source, target = top / name, root / name
        if state not in ("??", "!!") or not name or os.path.lexists(target) or _holds_code(source):
            continue
        if source.name in ("__pycache__", ".venv", "venv", ".git", "traindx-out") or source.suffix == ".pyc":
            continue
        with suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source, target_is_directory=source.is_dir())
            linked.append(name)
    return tuple(linked)


def _holds_code(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".py"
    seen = 0
    for _, _, names in os.walk(path):
        for name in names:
            seen += 1
            if name.endswith(".py"):
                return True
            if seen > MOST_FILES:
                return False
    return False
