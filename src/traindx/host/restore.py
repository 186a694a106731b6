"""What a run of ours replaced is put back, also by the next call after a run that was killed.

The run's own process copies a file aside before it changes it (:mod:`traindx.watch.interventions.files`) and writes
that down. Here is the other half, which the parent does when the run has ended, and the next traindx in that folder if
the parent was killed: :func:`register` before a run, :func:`put_back` after it, :func:`recover` first in every call. On
Linux a small process (:mod:`traindx.host.guardian`) waits beside the parent and recovers at once.

What is guaranteed, on any file system: a file that was there before a run and that the run changed through Python or
``torch.save`` has its old content afterwards. It is put there whole, by one rename. After a kill, a file that somebody
changed since is left alone, and its old content is kept beside it under another name; nothing is deleted. Not seen, and
so not put back: files that a C library opens by itself (HDF5 but through h5py, SQLite) and those that a program started
by the script writes. Another program that writes the same file during the seconds of the run cannot be told from it.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from traindx.watch.interventions.files import BACKUPS, JOURNAL
from traindx.watch.interventions.in_hand import alone, read_journal
from traindx.watch.runtime.settings import HEARTBEAT_FILE, MARK

HOME = Path("traindx-out")
PENDING = HOME / ".pending"
REPLACED = "replaced"  # in a run's folder: what the run wrote in the place of files that were put back
SLACK = 5.0  # seconds: a parent that waits for the processor gives signs of life late


@dataclass
class Restored:
    """What became of the files that a run changed.

    Attributes:
        back: Files that have their old content again.
        kept: What the run wrote in their place, where that was kept, by file.
        conflicts: Files that somebody changed after the run was killed, and where their old content is now.
        lost: Files that could not be put back, or not be copied aside in the first place.
    """

    back: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    conflicts: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def add(self, other: Restored) -> None:
        """Take in what became of others."""
        self.back += other.back
        self.kept |= other.kept
        self.conflicts |= other.conflicts
        self.lost += other.lost

    def lines(self) -> list[str]:
        """Sentences for people; none where nothing was changed."""
        said = []
        if self.back:
            said.append(f"put back as before the run: {_some(sorted(self.back))}")
        if self.kept:
            said.append(f"what the run wrote in their place: {_some(sorted(self.kept.values()))}")
        for path, aside in self.conflicts.items():
            where = f", and what was there before is in {_shown(aside)}" if aside else ""
            said.append(f"{_shown(path)} was changed after the run was killed: it is left as it is{where}")
        if self.lost:
            said.append(f"changed by the run and not put back: {_some(self.lost)}")
        return said


def _some(paths: Sequence[str]) -> str:
    shown = [_shown(path) for path in paths[:4]]
    return ", ".join(shown) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")


def _shown(path: str) -> str:
    with contextlib.suppress(ValueError, OSError):
        return str(Path(path).relative_to(Path.cwd()))
    return path


# -- before and after a run --------------------------------------------------------------------------------------


def register(directory: Path, mark: str = "", **more: str) -> Path | None:
    """Write down, in the folder of the call, that a run begins which may have to be cleaned up after.

    Args:
        directory: Of the run; its log of changed files lies there.
        mark: What its processes carry in their environment.
        **more: ``worktree`` and ``repository`` of a revision that is checked out.

    Returns:
        The note, for :func:`release`; None where none can be written (the run goes on all the same).
    """
    fields = {
        "directory": str(directory.resolve()),
        "pid": os.getpid(),
        "born": _born(os.getpid()),
        "mark": mark,
        **more,
    }
    try:
        PENDING.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{os.getpid()}-", suffix=".tmp", dir=PENDING)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(fields, file)
        note = Path(name).with_suffix(".json").absolute()
        os.replace(name, note)
    except OSError:
        return None
    _guardians[note] = _guardian(note)
    return note


_guardians: dict[Path, subprocess.Popen[bytes] | None] = {}


def _guardian(note: Path) -> subprocess.Popen[bytes] | None:
    """A process that does nothing but outlive this one, if that is killed, to clean up after it at once.

    It carries nothing of the environment that marks the run, and no signal of the terminal reaches it.
    """
    if sys.platform != "linux":
        return None
    known = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "LANG") if name in os.environ}
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "traindx.host.guardian", str(note)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=known,
            start_new_session=True,
        )
    except OSError:
        return None


def _dismiss(note: Path) -> None:
    """The run has ended as it should: its guardian has nothing to do."""
    guardian = _guardians.pop(note, None)
    if guardian is not None and guardian.stdin is not None:
        with contextlib.suppress(OSError):
            guardian.stdin.write(b"done")
            guardian.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            guardian.wait(timeout=5.0)


def sign_of_life(note: Path | None) -> None:
    """The parent is there: what is changed until now is the run's doing."""
    if note is not None:
        with contextlib.suppress(OSError):
            os.utime(note)


def release(note: Path | None) -> None:
    """The run has ended and everything is as it should be."""
    if note is not None:
        note.unlink(missing_ok=True)
        _dismiss(note)
        with contextlib.suppress(OSError):
            note.parent.rmdir()  # if it was the last
            note.parent.parent.rmdir()


def restore(directory: Path) -> list[str]:
    """Put back what an arm changed, and return the paths that could not be."""
    return put_back(directory).lost


def put_back(directory: Path, *, killed_at: float | None = None, pending: Path = PENDING) -> Restored:
    """Put back what a run changed. Safe to be killed in, and to be called again.

    Args:
        directory: Of the run.
        killed_at: Last sign of life of a run that was killed; None for one that ended just now, as it should.
        pending: Folder in which the runs of this place are registered.
    """
    log = directory / JOURNAL
    done = Restored()
    if not log.exists():
        return done
    with _undisturbed(), alone(pending):
        entries, arm = read_journal(log)
        for entry in reversed(entries):
            try:
                _one(entry, directory, arm, killed_at, done)
            except OSError:
                done.lost.append(entry["path"])
        log.unlink()
        shutil.rmtree(directory / BACKUPS, ignore_errors=True)
    for note in _notes_of(directory):
        release(note)
    return done


def _notes_of(directory: Path) -> list[Path]:
    """What this process wrote down about a run."""
    found = []
    for note in PENDING.glob(f"{os.getpid()}-*.json"):
        with contextlib.suppress(OSError, ValueError):
            if json.loads(note.read_text(encoding="utf-8"))["directory"] == str(directory.resolve()):
                found.append(note)
    return found


def _one(entry: dict[str, Any], directory: Path, arm: bool, killed_at: float | None, done: Restored) -> None:
    path, was = entry["path"], entry["was"]
    if was in ("absent", "no folder"):
        if arm and os.path.lexists(path):
            _take_away(path, directory, killed_at, done)
        return
    if was in ("folder of another name", "link"):
        _name_again(entry, directory, arm, killed_at, done)
    elif was == "file":
        _content_again(entry, directory, arm, killed_at, done)
    else:
        done.lost.append(path)


def _name_again(entry: dict[str, Any], directory: Path, arm: bool, killed_at: float | None, done: Restored) -> None:
    """A folder that was renamed, or a symbolic link that was removed."""
    path = entry["path"]
    if entry["was"] == "link":
        if not os.path.islink(path) or os.readlink(path) != entry["target"]:
            _aside(path, directory, arm, killed_at, done)
            os.symlink(entry["target"], path)
            done.back.append(path)
    elif os.path.isdir(entry["to"]) and not os.path.lexists(path):
        os.rename(entry["to"], path)
        done.back.append(path)


def _content_again(entry: dict[str, Any], directory: Path, arm: bool, killed_at: float | None, done: Restored) -> None:
    path, copy = entry["path"], entry["copy"]
    if not os.path.exists(copy):
        if not os.path.exists(path):
            done.lost.append(path)
        return  # put back already, by a call that was killed right after
    if os.path.lexists(path) and _same(copy, path):
        return
    if _since(path, killed_at):
        done.conflicts[path] = _copy_beside(copy, path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _aside(path, directory, arm, killed_at, done)
    fresh = f"{path}.traindx-{os.getpid()}"
    _link_or_copy(copy, fresh)
    os.replace(fresh, path)
    done.back.append(path)


def _same(copy: str, path: str) -> bool:
    return (
        os.path.isfile(path)
        and not os.path.islink(path)
        and (os.path.samefile(copy, path) or filecmp.cmp(copy, path, shallow=False))
    )


def _since(path: str, killed_at: float | None) -> bool:
    """True if a file was changed by somebody after the run was killed (of a folder: anything in it)."""
    if killed_at is None or not os.path.lexists(path):
        return False
    latest = [os.lstat(path)]
    if os.path.isdir(path) and not os.path.islink(path):
        latest = [os.lstat(os.path.join(place, name)) for place, _, names in os.walk(path) for name in names]
    return any(max(one.st_mtime, one.st_ctime) > killed_at + SLACK for one in latest)


def _take_away(path: str, directory: Path, killed_at: float | None, done: Restored) -> None:
    """Something that an arm made: gone, or after a kill moved into the run's folder."""
    if _since(path, killed_at):
        done.conflicts[path] = ""
    elif killed_at is not None:
        done.kept[path] = _move(path, directory)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)  # all that is in it came after it, seen or not
    else:
        os.remove(path)


def _aside(path: str, directory: Path, arm: bool, killed_at: float | None, done: Restored) -> None:
    """What the run wrote in the place of a file is kept, but for an arm that ended as it should."""
    if not os.path.lexists(path):
        return
    if arm and killed_at is None:
        if os.path.islink(path):
            os.remove(path)
        return
    done.kept[path] = _move(path, directory)


def _move(path: str, directory: Path) -> str:
    folder = directory / REPLACED
    folder.mkdir(exist_ok=True)
    target = _free(str(folder / os.path.basename(path)))
    shutil.move(path, target)
    return target


def _copy_beside(copy: str, path: str) -> str:
    target = _free(f"{path}.before-traindx")
    _link_or_copy(copy, target)
    return target


def _free(path: str) -> str:
    """A name that nothing has yet."""
    stem, suffix = os.path.splitext(path)
    number = 2
    while os.path.lexists(path):
        path = f"{stem}-{number}{suffix}"
        number += 1
    return path


def _link_or_copy(copy: str, target: str) -> None:
    """A second name for the copy, which costs nothing; a copy where file systems differ or do not know that."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(target)
    try:
        os.link(copy, target)
    except OSError:
        shutil.copy2(copy, target)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the files are as they should be."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- after a run that was killed ---------------------------------------------------------------------------------


def recover(folder: Path | None = None) -> Restored:
    """Clean up after runs that were started in a folder and killed: files, processes, checked-out revisions.

    Runs whose parent is alive are left alone.
    """
    done = Restored()
    home = (folder or Path()) / PENDING
    try:
        handle = os.open(home, os.O_RDONLY)
    except OSError:
        return done
    try:
        if fcntl is not None:  # a guardian and the next call may come at the same time
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
        _recover(home, done)
    finally:
        os.close(handle)
    return done


def _recover(home: Path, done: Restored) -> None:
    dead: list[tuple[Path, dict[str, Any]]] = []
    for note in sorted(home.glob("*.json")):
        try:
            fields = json.loads(note.read_text(encoding="utf-8"))
            killed_at = note.stat().st_mtime
        except (OSError, ValueError):
            continue
        if alive(fields):
            continue
        for _ in range(20):  # until none is left that another could have started
            if not fields.get("mark") or not _end_marked(fields["mark"]):
                break
            time.sleep(0.05)
        directory = Path(fields["directory"])
        for place in (directory / JOURNAL, directory / HEARTBEAT_FILE):
            with contextlib.suppress(OSError):
                killed_at = max(killed_at, place.stat().st_mtime)
        done.add(put_back(directory, killed_at=killed_at, pending=home))
        dead.append((note, fields))
    for note, fields in dead:  # a run of another note may have changed files in a revision that this one checked out
        if fields.get("worktree"):
            _remove_worktree(fields["worktree"], fields.get("repository", ""))
        note.unlink(missing_ok=True)
    for rest in home.glob("*.tmp"):
        if time.time() - rest.stat().st_mtime > 60.0:
            rest.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        home.rmdir()
        home.parent.rmdir()


def alive_note(note: Path) -> bool:
    """True if the parent that wrote a note is still there."""
    try:
        return alive(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def alive(fields: dict[str, Any]) -> bool:
    """True if the parent that wrote a note is still there, and is not another process of the same number."""
    pid = int(fields["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    born = _born(pid)
    return born != "zombie" and born == fields.get("born", born)


def _born(pid: int) -> str:
    """When a process was started, in ticks of the machine; "" where that cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "zombie" if fields[0] in ("Z", "X") else fields[19]


def _end_marked(mark: str) -> bool:
    """End the processes of a run whose parent was killed (Linux); True if there were any."""
    found = False
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if wanted in entry.read_bytes().split(b"\0"):
                os.kill(int(entry.parent.name), signal.SIGKILL)
                found = True
    return found


def _remove_worktree(root: str, repository: str) -> None:
    """Remove a checked-out revision of a comparison that was killed. What is linked into it stays where it is."""
    place = Path(root)
    for folder, names, files in os.walk(place) if place.is_dir() else ():
        for name in (*names, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                with contextlib.suppress(OSError):
                    os.remove(path)
    if repository:
        for arguments in (["worktree", "remove", "--force", "--force", root], ["worktree", "prune"]):
            with contextlib.suppress(OSError):
                subprocess.run(["git", *arguments], cwd=repository, capture_output=True, check=False)
    if place.name == "tree" and place.parent.name.startswith("traindx-compare-"):
        shutil.rmtree(place.parent, ignore_errors=True)
