"""Is this the line? A finding names ``file:line`` as it is shown to the user; here it is found again while running."""

from __future__ import annotations

import os
from typing import Any

from traindx.watch.runtime.call_sites import CallSite, constructor_site, here


class Place:
    """A line of user code that a treatment is for.

    Args:
        file: Path as it was shown, relative to the working directory in which the script was started, or absolute.
        line: Line number; 0 for any line (of any file).
    """

    def __init__(self, file: str, line: int) -> None:
        self.line = line
        self._real = os.path.realpath(file) if file else ""
        self._known: dict[str, bool] = {}

    def holds(self, site: CallSite | None) -> bool:
        """True if a site is this line."""
        if not self.line:
            return True
        if site is None or site.line != self.line:
            return False
        known = self._known.get(site.file)
        if known is None:
            known = self._known[site.file] = os.path.realpath(site.file) == self._real
        return known

    @property
    def now(self) -> bool:
        """True if the innermost user line that is executing is this one."""
        return not self.line or self.holds(here(2))

    def __str__(self) -> str:
        return f"{os.path.basename(self._real)}:{self.line}" if self.line else "anywhere"


class Makers:
    """Lines that constructed modules and optimisers."""

    def __init__(self, torch: Any) -> None:
        self.made: Any = torch.utils.weak.WeakIdKeyDictionary()

    def remember(self, instance: Any) -> None:
        """Called at the end of a constructor."""
        site = constructor_site(instance, 2)
        if site is not None:
            self.made[instance] = site

    def of(self, instance: Any) -> CallSite | None:
        """The line that constructed something."""
        site: CallSite | None = self.made.get(instance)
        return site
