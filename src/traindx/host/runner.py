"""The parent: starts a script under observation, lets it run, ends it cleanly, and says how that went.

The script runs in its own process group. It normally ends itself, by an exception raised right after an optimiser
step. If it does not (it hangs, swallows the exception, never takes a step), it is asked with SIGINT, then SIGTERM,
then the whole group is killed. Processes that left the group are found as our own descendants and ended too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from traindx.evidence.observed import Ending, ScriptRun
from traindx.finding import Location
from traindx.host.restore import PENDING, register, release, sign_of_life
from traindx.progress import Listener, Progress, silent
from traindx.watch.interventions.files import JOURNAL
from traindx.watch.runtime.settings import (
    CRASH_FILE,
    HEARTBEAT_FILE,
    MARK,
    RUN_FILES,
    SETTINGS_FILE,
    STACK_FILE,
    STACK_SIGNAL,
    STOPPED,
    WINDOW_FILE,
    Settings,
)

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
MOST_FOR_A_STACK = 5.0  # seconds that a hanging script has to write down where it is


@dataclass(frozen=True)
class Patience:
    """Seconds that are waited before the next, harsher step.

    Attributes:
        first_step: For the first optimiser iteration (downloading, reading data and compiling take their time).
        progress: Between iterations, before the script counts as hanging.
        ending: For the script to end itself once its window is full.
        interrupt: After SIGINT.
        terminate: After SIGTERM.
    """

    first_step: float = 600.0
    progress: float = 60.0
    ending: float = 20.0
    interrupt: float = 10.0
    terminate: float = 5.0


@dataclass
class _Process:
    child: subprocess.Popen[bytes]
    out: Path
    mark: str
    note: Path | None = None  # that this run goes on, for whoever comes after a kill
    started: float = field(default_factory=time.monotonic)
    signals: list[str] = field(default_factory=list)

    def send(self, number: signal.Signals, *, whole_group: bool = False) -> None:
        """Send a signal to the script, or to its whole process group."""
        self.signals.append(number.name)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if whole_group:
                os.killpg(self.child.pid, number)
            else:
                self.child.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """True if the script ended within so many seconds."""
        try:
            self.child.wait(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True


def run_script(
    settings: Settings,
    *,
    patience: Patience | None = None,
    output: int | None = None,
    errors: int | None = None,
    progress: Listener = silent,
    interpreter: str = sys.executable,
) -> ScriptRun:
    """Run a script to its end or to the end of its window.

    Args:
        settings: What to run and how to watch it; ``settings.out`` must exist.
        patience: How long to wait before harsher steps.
        output: File descriptor for the script's stdout; None leaves it where ours goes.
        errors: File descriptor for its stderr; None leaves it where ours goes.
        progress: Told about once a second.
        interpreter: Python to run it with.

    Returns:
        How it ended. Ctrl-C is passed on to the script first and its ending recorded; then ``KeyboardInterrupt`` is
        for the caller to raise (``ending`` is *interrupted*).
    """
    patience = patience or Patience()
    out = Path(settings.out)
    for name in RUN_FILES:
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "ranks", ignore_errors=True)
    folder = settings.extras.get("directory") or None
    home = settings.extras.get("home") or os.path.abspath(folder or os.curdir)
    known = {**settings.extras, "home": home, "parent": os.getpid(), "pending": str(PENDING.absolute())}
    replace(settings, extras=known).save(out / SETTINGS_FILE)
    _adopt_orphans(True)
    command = [
        interpreter,
        *settings.extras.get("python", ()),
        "-m",
        "traindx.watch.runtime.bootstrap",
        str((out / SETTINGS_FILE).resolve()),
    ]
    stdin = None if not sys.stdin or not sys.stdin.isatty() else subprocess.DEVNULL
    mark = uuid.uuid4().hex
    changes_files = not settings.watch or "protect" in settings.extras  # as the command line does
    note = register(out, mark) if changes_files else None
    environment = {**os.environ, **settings.extras.get("environment", {}), MARK: mark}
    child = subprocess.Popen(
        command, process_group=0, stdin=stdin, stdout=output, stderr=errors, env=environment, cwd=folder
    )
    ours = _Process(child, out, mark, note)
    hung = False
    interrupted = ""
    try:
        hung = _watch_over(ours, settings, patience, progress)
    except KeyboardInterrupt as error:
        interrupted = str(error) or "interrupted from the keyboard"
        _end(ours, patience)
    finally:
        if ours.child.poll() is None:
            _end(ours, patience)
        orphans = _end_orphans(ours)
        _adopt_orphans(False)
        if not (out / JOURNAL).exists():
            release(note)  # otherwise whoever puts the files back does that
    return _verdict(ours, settings, interrupted=interrupted, hung=hung, orphans=orphans)


def _watch_over(ours: _Process, settings: Settings, patience: Patience, progress: Listener) -> bool:
    """Wait for the end; True if the script had to be ended because it made no progress."""
    full_since = 0.0
    while not ours.wait(0.2):
        now = time.monotonic()
        sign_of_life(ours.note)
        progress(Progress("watching", "the script runs", now - ours.started))
        if not settings.stop:
            continue
        if (ours.out / WINDOW_FILE).exists():
            full_since = full_since or now
            if now - full_since > patience.ending:
                _end(ours, patience)
                return False
            continue
        first, last = _heartbeat(ours.out)
        if not first:
            if now - ours.started <= patience.first_step:
                continue
            if time.time() - last > patience.progress:
                return _give_up(ours, patience)
            (ours.out / WINDOW_FILE).write_text("0", encoding="utf-8")  # networks are called: it infers, and is long
            _end(ours, patience)
            return False
        if settings.seconds and now - first > settings.seconds + patience.ending:
            if time.time() - last > patience.progress:
                return _give_up(ours, patience)
            (ours.out / WINDOW_FILE).write_text("0", encoding="utf-8")  # a long step or validation, and no Ctrl-C
            _end(ours, patience)
            return False
    return False


def _give_up(ours: _Process, patience: Patience) -> bool:
    _photograph(ours)
    _end(ours, patience)
    return True


def _heartbeat(out: Path) -> tuple[float, float]:
    """Monotonic time of the first iteration, 0 before it, and wall-clock time of the last sign of life, 0 for none."""
    try:
        path = out / HEARTBEAT_FILE
        return float(path.read_text(encoding="utf-8") or 0.0), path.stat().st_mtime
    except (OSError, ValueError):
        return 0.0, 0.0


def _photograph(ours: _Process) -> None:
    """Ask the script for its stack, to be able to say where it hangs."""
    if not STACK_SIGNAL:
        return
    with contextlib.suppress(ProcessLookupError):
        ours.child.send_signal(STACK_SIGNAL)
    written, end = -1, time.monotonic() + MOST_FOR_A_STACK
    while time.monotonic() < end and not ours.wait(0.2):  # a busy machine takes its time
        before, written = written, _size(ours.out / STACK_FILE)
        if written > 0 and written == before:
            return


def _size(path: Path) -> int:
    """Bytes of a file, 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _end(ours: _Process, patience: Patience) -> None:
    """SIGINT to the script, SIGTERM to it, SIGKILL to all of its group."""
    if ours.child.poll() is not None:
        return
    ours.send(signal.SIGINT)
    if ours.wait(patience.interrupt):
        return
    ours.send(signal.SIGTERM, whole_group=True)
    if ours.wait(patience.terminate):
        return
    ours.send(signal.SIGKILL, whole_group=True)
    ours.wait(10.0)


def _verdict(
    ours: _Process, settings: Settings, *, interrupted: str, hung: bool, orphans: tuple[str, ...]
) -> ScriptRun:
    code = ours.child.returncode if ours.child.returncode is not None else -9
    message, where = "", None
    crash = ours.out / CRASH_FILE
    full = (ours.out / WINDOW_FILE).exists()
    if interrupted:
        ending, message = Ending.INTERRUPTED, interrupted
    elif hung:
        ending, where = Ending.HUNG, _last_line(ours.out / STACK_FILE)
        message = f"it did nothing that could be seen until {' and '.join(ours.signals)}"
    elif code == STOPPED or (full and (ours.signals or settings.stop)):
        ending = Ending.STOPPED
    elif crash.exists():
        fields = json.loads(crash.read_text(encoding="utf-8"))
        message = fields["message"]
        where = Location(**fields["where"]) if fields["where"] else None
        ending = Ending.INTERRUPTED if message.startswith("KeyboardInterrupt") else Ending.CRASHED
    elif code < 0:
        ending, message = Ending.KILLED, f"ended by {signal.Signals(-code).name}"
    elif code != 0:
        ending, message = Ending.EXITED, f"exit code {code}"
    else:
        ending = Ending.FINISHED
    return ScriptRun(
        target=settings.target,
        arguments=settings.arguments,
        ending=ending,
        exit_code=0 if code == STOPPED else code,
        message=message,
        where=where,
        seconds=time.monotonic() - ours.started,
        signals=tuple(ours.signals),
        orphans=len(orphans),
        left_behind=orphans,
        window_ended=full,
    )


def _last_line(path: Path) -> Location | None:
    """The innermost user line of a faulthandler dump (most recent call first)."""
    from traindx.core.frames import is_user_file, shown_path

    if not path.exists():
        return None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.strip().split('"')
        if len(parts) >= 3 and is_user_file(parts[1]):
            number = parts[2].split("line ")[1].split(" ")[0] if "line " in parts[2] else "0"
            symbol = parts[2].rsplit(" in ", 1)[-1].strip()
            return Location(file=shown_path(parts[1]), line=int(number), symbol=symbol)
    return None


# -- nobody is left behind ---------------------------------------------------------------------------------------


def _adopt_orphans(adopt: bool) -> None:
    """On Linux: become the parent of processes whose parent ends, so that they can be found."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def _marked(mark: str) -> list[int]:
    """Processes that carry the mark of a run in their environment, whatever group or parent they have (Linux)."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if wanted in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
    return found


def _end_orphans(ours: _Process) -> tuple[str, ...]:
    """End what is left of the run, also what left its process group; their command lines."""
    left = [pid for pid in _marked(ours.mark) if pid != ours.child.pid]
    names = tuple(_command_of(pid) for pid in left if _alive(pid))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            if _alive(pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        _until(lambda: not any(_alive(pid) for pid in left), 2.0)
    for pid in left:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return names


def _command_of(pid: int) -> str:
    """A process as it shows in a list, cut to a line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return f"process {pid}"
    return " ".join(words).strip()[:120] or f"process {pid}"


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
