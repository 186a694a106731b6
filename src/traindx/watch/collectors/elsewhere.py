"""Training that takes place elsewhere: in processes that the script starts, and in threads.

A thread that makes the first backward pass is watched in place of the main one. Everything else is said to be
elsewhere, with the line that started it, so that nobody takes it for examined.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from multiprocessing.process import BaseProcess
from typing import Any

from traindx.watch.collectors.backwards import Backwards
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.runtime.call_sites import CallSite, here, site_of, users
from traindx.watch.runtime.watch import Collector, Watch

NOT_WATCHED = "what happens there is not watched: have the script do it in its own process, or examine that part alone"


class Elsewhere(Collector):
    """Wraps what starts processes, and notices steps in other threads."""

    subject = "processes and threads"

    def __init__(self, watch: Watch, backwards: Backwards, optimisers: Optimisers) -> None:
        super().__init__(watch)
        self.backwards = backwards
        self.optimisers = optimisers

    def install(self) -> None:
        """Patch."""
        watch = self.watch

        def make_start(original: Any) -> Any:
            def start(process: Any, *args: Any, **kwargs: Any) -> Any:
                if watch.here_and_now:
                    with watch.ours(self):
                        self._started("a process", starter())
                return original(process, *args, **kwargs)

            return start

        def make_popen(original: Any) -> Any:
            def init(process: Any, args: Any, *rest: Any, **kwargs: Any) -> Any:
                if watch.here_and_now:
                    with watch.ours(self):
                        if runs_python(args):
                            self._started("a Python program", here())
                return original(process, args, *rest, **kwargs)

            return init

        watch.patches.wrap(BaseProcess, "start", make_start)
        watch.patches.wrap(subprocess.Popen, "__init__", make_popen)
        self.backwards.on_foreign(self, self._backward_elsewhere)

    def _started(self, what: str, site: CallSite | None) -> None:
        if site is not None:
            self.watch.not_examined(f"{what} started at {site.location()}", NOT_WATCHED, site)

    def _backward_elsewhere(self) -> None:
        """A backward pass in another thread: the training, if nothing has been trained in this one."""
        watch = self.watch
        if os.getpid() != watch.pid or watch.over or watch.move_to_this_thread():
            return
        name = threading.current_thread().name
        watch.not_examined(
            f"backward passes in thread {name}", "one thread is watched, in which the training began", here()
        )


def starter() -> CallSite | None:
    """The user's line if it starts a process itself; loaders and launchers start others, and are watched."""
    frame = sys._getframe(2)
    return site_of(frame) if users(frame.f_code.co_filename) else None


def runs_python(arguments: Any) -> bool:
    """True for a command that runs a Python program."""
    parts = arguments.split() if isinstance(arguments, str) else [str(part) for part in arguments or ()]
    return bool(parts) and os.path.basename(parts[0]).startswith("python") and any(p.endswith(".py") for p in parts[1:])
