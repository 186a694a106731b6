"""Whose line is it? Stack frames, tracebacks and definitions as places in the user's own code.

User code is everything but torch, other installed packages, the standard library and traindx's own machinery. Recipes
and faults that ship inside traindx count as user code: they use traindx as a user would.
"""

from __future__ import annotations

import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

from traindx.finding import Location

NOBODY_ELSE = 3  # references: the frame's, ours, and that of the call which counts them
_TRAINDX = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_USER_ROOMS = tuple(os.path.join(_TRAINDX, ctx) + os.sep for ctx in ("recipes", "faults"))


@cache
def _library_roots() -> tuple[str, ...]:
    """Folders whose files are never the user's: the standard library and everything that pip installed."""
    roots = {sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    roots.update(site.getsitepackages() if hasattr(site, "getsitepackages") else [])
    roots.add(site.getusersitepackages())
    torch = sys.modules.get("torch")
    if torch is not None and torch.__file__:  # a source build lives elsewhere
        roots.add(os.path.dirname(torch.__file__))
    return tuple(os.path.realpath(root) + os.sep for root in roots)


@cache
def is_user_file(filename: str) -> bool:
    """True if a file is the user's own. Notebook cells are; ``<string>`` and frozen modules are not."""
    if filename.startswith("<"):
        return filename.startswith("<ipython")
    path = _real(filename)
    if path.startswith(_TRAINDX + os.sep):
        return path.startswith(_USER_ROOMS)
    if any(f"{os.sep}{name}{os.sep}" in path for name in ("site-packages", "dist-packages")):
        return False
    return not path.startswith(_library_roots()) and not _is_installed_beside(path)


def _real(filename: str) -> str:
    """``os.path.realpath``, each folder's way followed once: a program holds thousands of files in a few folders."""
    if not os.path.isabs(filename) or os.path.islink(filename):
        return os.path.realpath(filename)
    folder, name = os.path.split(filename)
    return os.path.join(_real_folder(folder), name)


@cache
def _real_folder(folder: str) -> str:
    parent, name = os.path.split(folder)
    if parent == folder or name in ("", os.curdir, os.pardir) or os.path.islink(folder):
        return os.path.realpath(folder)
    return os.path.join(_real_folder(parent), name)


def _is_installed_beside(path: str) -> bool:
    """True for what ``pip install --target FOLDER`` put into a folder of the search path, the script's own left out."""
    own = {_followed(sys.path[0]) if sys.path else "", *_HOME}
    with suppress(OSError):  # the folder is gone
        own.add(_followed(os.getcwd()))
    for entry in sys.path:
        folder = _followed(entry)
        if entry and folder not in own and path.startswith(folder + os.sep) and _has_installed(folder):
            return True
    return False


def _followed(folder: str) -> str:
    """``os.path.realpath`` of an entry of the search path, which is asked for every file of a program."""
    return _followed_once(folder) if os.path.isabs(folder) else os.path.realpath(folder)


@cache
def _followed_once(folder: str) -> str:
    return os.path.realpath(folder)


@cache
def _has_installed(folder: str) -> bool:
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))
    except OSError:
        return False


_HOME: list[str] = []


def show_paths_from(folder: str) -> None:
    """Show paths from one folder on, whatever the program makes its working directory, or deletes of it."""
    _HOME[:] = [os.path.realpath(folder)]


_NAMING: list[Callable[[str], str]] = []


def name_files(naming: Callable[[str], str]) -> None:
    """Show the files that a function has a name for by that name (cells of a living notebook)."""
    _NAMING[:] = [naming]


def shown_path(filename: str) -> str:
    """A path as the user would open it: relative where it is inside the working directory.

    In a program that is watched that is the folder in which traindx was called.
    """
    if _NAMING:
        name = _NAMING[0](filename)
        if name:
            return name
    if filename.startswith("<"):
        return filename
    path = Path(os.path.realpath(filename))
    try:
        return str(path.relative_to(_HOME[0] if _HOME else Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def location(code: CodeType, line: int) -> Location:
    """A line of a code object as a :class:`~traindx.finding.Location`."""
    return Location(file=shown_path(code.co_filename), line=line, symbol=code.co_qualname)


def user_frame(start: FrameType | None = None) -> FrameType | None:
    """The innermost frame of user code at or above a frame (the caller's by default).

    Cheap enough for every torch call: files are classified once. Do not keep the frame; it keeps its locals alive.
    """
    frame: FrameType | None = start if start is not None else sys._getframe(1)
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            return frame
        frame = frame.f_back
    return None


def user_place(start: FrameType | None = None) -> tuple[CodeType, int] | None:
    """Code object and line of :func:`user_frame`: hashable, keeps nothing alive, made into a location afterwards."""
    frame = user_frame(start if start is not None else sys._getframe(1))
    return None if frame is None else (frame.f_code, frame.f_lineno)


def user_location(start: FrameType | None = None) -> Location | None:
    """Where the user's code is right now (innermost user frame at or above ``start``)."""
    place = user_place(start if start is not None else sys._getframe(1))
    return None if place is None else location(*place)


def user_places(start: FrameType | None = None) -> tuple[tuple[CodeType, int], ...]:
    """Code objects and lines of all user frames from the innermost outwards; see :func:`user_place`."""
    frame: FrameType | None = start if start is not None else sys._getframe(1)
    found = []
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


def user_stack(start: FrameType | None = None) -> Iterator[Location]:
    """All user lines from the innermost outwards."""
    for place in user_places(start if start is not None else sys._getframe(1)):
        yield location(*place)


def locals_of(frame: FrameType) -> dict[str, Any]:
    """The local names of a function that goes on, so that it does not notice.

    Up to Python 3.12 ``frame.f_locals`` leaves a dictionary behind that keeps what the names stood for alive, and that
    is the one which ``locals()`` gave. It is emptied here; a function that speaks of ``locals`` itself is left alone.
    """
    if sys.version_info >= (3, 13) or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return dict(frame.f_locals)
    if {"locals", "vars", "dir", "eval", "exec"} & set(frame.f_code.co_names) or sys.gettrace() is not None:
        return {}
    kept = frame.f_locals
    found = dict(kept)
    if sys.getrefcount(kept) <= NOBODY_ELSE:  # nobody asked for it before us and has it still
        kept.clear()
    return found


def raised_at(error: BaseException) -> Location | None:
    """The user's line that an exception came through last, or None if it never passed through user code.

    Exceptions raised ``from`` another one are followed to their causes where they themselves touch no user code.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        found = _last_user_line(current.__traceback__)
        if found is not None:
            return found
        current = current.__cause__ or current.__context__
    return None


def _last_user_line(traceback: TracebackType | None) -> Location | None:
    found = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if is_user_file(code.co_filename):
            found = location(code, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def defined_at(thing: Any) -> Location | None:
    """Where a function, method, class or instance of the user's is defined; None for library code and builtins."""
    try:
        target = inspect.unwrap(thing) if callable(thing) else type(thing)
    except ValueError:
        target = thing
    while hasattr(target, "func"):  # functools.partial
        target = target.func
    if not (inspect.isclass(target) or inspect.isroutine(target)):
        target = type(target)
    try:
        filename = inspect.getsourcefile(target)
        line = inspect.getsourcelines(target)[1]
    except (TypeError, OSError):
        return None
    if filename is None or not is_user_file(filename):
        return None
    return Location(file=shown_path(filename), line=max(line, 1), symbol=getattr(target, "__qualname__", ""))
