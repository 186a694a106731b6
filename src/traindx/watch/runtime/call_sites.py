"""The user's line behind whatever is happening, found in about a microsecond."""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any, NamedTuple

from traindx.core.frames import is_user_file, shown_path
from traindx.finding import Location


class CallSite(NamedTuple):
    """A line of user code; hashable, keeps nothing of the script alive."""

    file: str
    line: int
    symbol: str

    def location(self) -> Location:
        """As it is shown to the user."""
        return Location(file=shown_path(self.file), line=self.line, symbol=self.symbol)


_users: dict[str, bool] = {}
_sites: dict[tuple[int, int], tuple[CodeType, CallSite]] = {}
_roots: list[str] = []
_loaded: dict[str, Any] = {}


def count_as_users(folder: str) -> None:
    """Let the files of a folder inside an installed package count as the user's (for ``-m MODULE``)."""
    _roots.append(folder.rstrip("/") + "/")
    _users.clear()


def users(filename: str) -> bool:
    """True if a file is the user's own."""
    known = _users.get(filename)
    if known is None:
        known = is_user_file(filename) or any(filename.startswith(root) for root in _roots)
        _users[filename] = known
    return known


def loaded_files() -> list[str]:
    """Source files of the user's that are loaded.

    A summary asks a dozen times; thousands of modules are gone through again only when another one came or went.
    """
    last = next(reversed(sys.modules))
    ends = (getattr(sys.modules.get(name), "__file__", None) for name in ("__main__", last))
    state = (len(sys.modules), last, *ends, len(_roots))
    if _loaded.get("state") != state:
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        _loaded.update(state=state, files=sorted(name for name in files if isinstance(name, str) and users(name)))
    return list(_loaded["files"])


def here(depth: int = 1) -> CallSite | None:
    """The innermost user line at or above the caller's ``depth``-th frame."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        if _users.get(code.co_filename) or users(code.co_filename):
            return site_of(frame)
        frame = frame.f_back
    return None


def directly(depth: int = 2) -> CallSite | None:
    """The line of the ``depth``-th frame if it is the user's own, and not a library's that works for it."""
    frame = sys._getframe(depth)
    return site_of(frame) if users(frame.f_code.co_filename) else None


def stack(depth: int = 1, limit: int = 12) -> tuple[CallSite, ...]:
    """User lines from the innermost outwards."""
    frame: FrameType | None = sys._getframe(depth)
    found: list[CallSite] = []
    while frame is not None and len(found) < limit:
        if users(frame.f_code.co_filename):
            found.append(site_of(frame))
        frame = frame.f_back
    return tuple(found)


def constructor_site(instance: Any, depth: int = 1) -> CallSite | None:
    """The user line that constructs ``instance``: its own ``__init__`` chain is skipped."""
    codes = (getattr(vars(kind).get("__init__"), "__code__", None) for kind in type(instance).__mro__)
    own = {id(code) for code in codes if code is not None}
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        if id(frame.f_code) not in own and users(frame.f_code.co_filename):
            return site_of(frame)
        frame = frame.f_back
    return None


def site_of(frame: FrameType) -> CallSite:
    """The site of a frame, interned by code object and instruction."""
    key = (id(frame.f_code), frame.f_lasti)
    known = _sites.get(key)
    if known is not None and known[0] is frame.f_code:
        return known[1]
    site = CallSite(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
    _sites[key] = (frame.f_code, site)
    return site
