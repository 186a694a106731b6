"""When the script turns gradients off by itself, something other than training begins: a chance to look."""

from __future__ import annotations

import sys
from typing import Any

from traindx.watch.runtime.call_sites import CallSite, site_of, users
from traindx.watch.runtime.watch import Collector


class NoGradRegions(Collector):
    """Wraps ``torch.no_grad`` and ``torch.inference_mode``; only uses in user code begin a burst."""

    subject = "evaluation"

    def install(self) -> None:
        """Patch."""
        torch = self.watch.torch
        for kind in (torch.no_grad, torch.inference_mode):
            self.watch.patches.wrap(kind, "__enter__", self._make_enter)
            self.watch.patches.wrap(kind, "__exit__", self._make_exit)

    def _make_enter(self, original: Any) -> Any:
        watch = self.watch

        def enter(context: Any) -> Any:
            result = original(context)
            if not watch.attached and watch.here_and_now:
                site = user_above()
                if site is not None:
                    watch.begin_burst(("no_grad", site))
            return result

        return enter

    def _make_exit(self, original: Any) -> Any:
        watch = self.watch

        def leave(context: Any, *error: Any) -> Any:
            result = original(context, *error)
            if watch.burst_left and not watch.busy and user_above() is not None:
                watch.end_burst()
            return result

        return leave


def user_above() -> CallSite | None:
    """The line that opened the context, if it is the user's own (directly or through the decorator)."""
    frame = sys._getframe(2)
    if frame.f_code.co_filename.endswith("_contextlib.py") and frame.f_back is not None:
        frame = frame.f_back
    return site_of(frame) if users(frame.f_code.co_filename) else None
