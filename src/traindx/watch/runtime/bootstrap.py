"""The script's process: ``python -m traindx.watch.runtime.bootstrap SETTINGS.json``.

Prepares the watching without importing anything heavy, then runs the script as ``python SCRIPT`` or ``python -m
MODULE`` would: same ``sys.argv``, ``sys.path[0]``, ``__main__`` (in which spawned workers find their functions) and
exit code.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import faulthandler
import os
import re
import runpy
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from traindx.core import compat
from traindx.core.frames import show_paths_from, shown_path
from traindx.watch.runtime.after_import import AfterImport
from traindx.watch.runtime.call_sites import count_as_users, users
from traindx.watch.runtime.calling import clean
from traindx.watch.runtime.edits import Overlay
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.settings import BLIND_FILE, CRASH_FILE, STACK_FILE, STACK_SIGNAL, STOPPED, Settings

if TYPE_CHECKING:
    from traindx.watch.interventions.run import Variant
    from traindx.watch.runtime.watch import Watch

_KEPT: list[ModuleType] = []  # our own namespace, which would be cleared with the last reference to it


class Bootstrap:
    """Starts the watching when torch arrives and ends it whatever the script does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.out = Path(settings.out)
        self.watch: Watch | Variant | None = None
        self.pid = os.getpid()
        self.imports = AfterImport()
        self.patches = Patches()
        self.overlay = Overlay(settings.treatments)

    def prepare(self) -> None:
        """Patch what can be patched before torch is there, and wait for torch."""
        try:
            from traindx.watch.runtime.assembly import before_torch, with_torch

            self.overlay.install()
            early = before_torch(self.settings, self.imports, self.overlay)
            for root in self.settings.user_roots:
                count_as_users(root)
        except Exception as error:
            self.not_watched(error)
            return

        def torch_arrived(module: ModuleType) -> None:
            try:
                self.watch = with_torch(module, self.settings, self.imports, early)
            except Exception as error:
                self.not_watched(error)

        self.imports.when("torch", torch_arrived)
        os.register_at_fork(after_in_child=self.forked)
        atexit.register(self.finish)
        self.patches.wrap(os, "_exit", self._make_exit, passes=False)

    def _make_exit(self, original: Any) -> Any:
        """``os._exit`` runs no ``atexit``: what was seen since the last snapshot is written before it."""

        def _exit(status: int) -> None:
            if os.getpid() == self.pid:
                with suppress(Exception):
                    self.finish()
            original(status)

        return _exit

    def not_watched(self, error: Exception) -> None:
        """Our own failure must not be the script's: it runs on, and the report says that nothing was seen."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({os.path.basename(place.filename)}:{place.lineno})"
        text = ". ".join([text, *compat.lost("torch")])  # what most probably broke us
        (self.out / BLIND_FILE).write_text(text, encoding="utf-8")

    def forked(self) -> None:
        """A forked child (a data loader's worker) is not watched."""
        if self.watch is not None:
            self.watch.over = True

    def finish(self) -> None:
        """Write what is left. Called at the end, at exit, and before the process is ended from outside."""
        if os.getpid() == self.pid and self.watch is not None:
            self.watch.finish()


def main() -> None:
    """Run a script under observation."""
    settings_path = Path(sys.argv[1])
    settings = Settings.load(settings_path)
    if sys.argv[2:]:  # a launcher's, with what it puts in for each worker
        settings = replace(settings, arguments=tuple(sys.argv[2:]))
    die_with_parent(settings.extras.get("parent", 0))
    show_paths_from(settings.extras.get("home") or os.getcwd())
    out = Path(settings.out)
    stack_file = (out / STACK_FILE).open("w", encoding="utf-8")
    if STACK_SIGNAL and hasattr(faulthandler, "register"):
        faulthandler.register(STACK_SIGNAL, file=stack_file, all_threads=False, chain=False)
    bootstrap = Bootstrap(settings)
    bootstrap.prepare()
    code = execute(bootstrap, settings)
    bootstrap.finish()
    leave(code)


def execute(bootstrap: Bootstrap, settings: Settings) -> int:
    """Run the target to its end and say with which exit code it ends."""
    from traindx.watch.runtime.watch import WindowEnded

    try:
        if settings.is_module:
            sys.argv = [settings.target, *settings.arguments]
            sys.path[0] = os.getcwd()
            runpy.run_module(settings.target, run_name="__main__", alter_sys=True)
        elif settings.target.endswith(".ipynb"):
            from traindx.watch.runtime.notebook import run_notebook

            run_notebook(os.path.join(settings.extras.get("home", ""), settings.target), settings.arguments)
        else:
            run_path(settings.target, settings.arguments, bootstrap.overlay)
    except WindowEnded:
        return 0 if settings.extras.get("worker") else STOPPED  # its launcher would take anything else for a failure
    except SystemExit as exit_request:
        return exit_code(exit_request)
    except BaseException as error:
        bootstrap.finish()
        report_crash(bootstrap.out, error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def run_path(target: str, arguments: tuple[str, ...], overlay: Overlay | None = None) -> None:
    """What ``python SCRIPT ARGS`` does."""
    path = os.path.abspath(target)
    sys.argv = [target, *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    module = ModuleType("__main__")
    module.__dict__.update(
        __file__=path,
        __builtins__=builtins,
        __loader__=SourceFileLoader("__main__", path),
        __spec__=None,
        __annotations__={},
        __cached__=None,
    )
    code = (overlay.compiled(path) if overlay is not None else None) or compiled(path)
    _KEPT.append(sys.modules["__main__"])
    sys.modules["__main__"] = module
    exec(code, module.__dict__)


def compiled(path: str) -> CodeType:
    """The script as a code object; its file name is absolute, so that a later ``os.chdir`` does not hide its lines."""
    with open(path, "rb") as file:
        source = file.read()
    return compile(source, path, "exec", dont_inherit=True)


def exit_code(request: SystemExit) -> int:
    """What the interpreter would exit with."""
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code
    print(request.code, file=sys.stderr)
    return 1


def report_crash(out: Path, error: BaseException) -> None:
    """Print the traceback as python would, without our frames, and write where it happened for the parent."""
    import json

    from traindx.core.colours import uncoloured
    from traindx.core.frames import raised_at

    clean(error)
    entries = error.__traceback__
    while entries is not None and "runpy" in entries.tb_frame.f_code.co_filename:
        entries = entries.tb_next
    error.__traceback__ = entries
    try:
        sys.excepthook(type(error), error, entries)  # the script's own, perhaps
    except BaseException:
        traceback.print_exception(error)
    place = raised_at(error)
    text = f"{type(error).__name__}: {error}".strip()
    worker = workers_own(str(error))
    if worker is not None:
        fields: dict[str, Any] = worker[0]
        text = worker[1]
    elif place is None and isinstance(error, SyntaxError) and error.filename:
        fields = {"file": error.filename, "line": error.lineno or 0, "symbol": ""}
    else:
        fields = place.model_dump() if place is not None else {}
    if (out / CRASH_FILE).exists():  # a worker's own exception says more than its launcher's
        return
    (out / CRASH_FILE).write_text(json.dumps({"message": uncoloured(text)[:2000], "where": fields}), encoding="utf-8")


def workers_own(text: str) -> tuple[dict[str, Any], str] | None:
    """Line and message of an error that a worker of a loader raised, from the traceback that torch puts into its own.

    None where the text holds none, or none of the user's lines.
    """
    _, found, inner = text.partition("Original Traceback (most recent call last):\n")
    if not found:
        return None
    place = None
    for line in inner.splitlines():
        match = re.match(r'^\s+File "(.+)", line (\d+), in (.+)$', line)
        if match is not None and users(match[1]):
            place = {"file": shown_path(match[1]), "line": int(match[2]), "symbol": match[3]}
    said = [line for line in inner.splitlines() if line.strip() and not line.startswith(" ")]
    if place is None or not said:
        return None
    return place, f"{said[-1].strip()} (in a worker of a DataLoader)"


def die_with_parent(parent: int = 0) -> None:
    """On Linux: be killed if the parent is, so that nothing runs on unseen, whatever signals the script ignores.

    Args:
        parent: Who it should be; one that is gone already can tell nobody. 0 where it is not known.
    """
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return
    if parent and os.getppid() != parent:
        os._exit(1)


def leave(code: int) -> None:
    """Exit as the interpreter would: threads joined, ``atexit`` run, streams flushed."""
    sys.exit(code)


if __name__ == "__main__":
    main()
