"""What the parent tells the script's process, as one JSON file; standard library only."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SETTINGS_FILE = "settings.json"
STACK_FILE = "stack.txt"  # where a hanging script was
STACK_SIGNAL = int(getattr(signal, "SIGRTMAX", 1)) - 1  # asks for it; one that no script uses, 0 for none (not Linux)
CRASH_FILE = "crash.json"  # the exception that ended it
HEARTBEAT_FILE = "heartbeat"  # touched about once a second by iterations; its text is the time of the first one
WINDOW_FILE = "window.full"  # the window is full and the script was asked to end
BLIND_FILE = "watch.failed"  # why nothing could be watched (our own failure; the script runs on)
ARM_FILE = "arm.json"  # what an arm of a paired run gave
RUN_FILES = (ARM_FILE, STACK_FILE, CRASH_FILE, HEARTBEAT_FILE, WINDOW_FILE, BLIND_FILE)
MARK = "TRAINDX_RUN"  # environment variable by which processes of a run are recognised
STOPPED = 86  # exit code of a script that was ended because the window was full


def write_heartbeat(directory: Path, first_step: float) -> None:
    """Write the sign of life whole or not at all.

    A file that is opened for writing is empty for a moment; a reader of that moment took a script that was training for
    one that never began, and ended it.
    """
    fresh = directory / f".{HEARTBEAT_FILE}.{os.getpid()}"
    fresh.write_text(str(first_step), encoding="utf-8")
    os.replace(fresh, directory / HEARTBEAT_FILE)


@dataclass(frozen=True)
class Settings:
    """How a script is to be run and watched.

    Attributes:
        target: Path of the script, or the name of a module to run as ``python -m`` does.
        is_module: True if ``target`` is a module name.
        arguments: ``sys.argv[1:]`` of the script.
        out: Evidence directory.
        steps: Optimiser iterations after which the window is full; 0 for no limit.
        least_seconds: The window is not full before that time either, however many iterations there were.
        seconds: Wall time since the first optimiser iteration after which the window is full; 0 for no limit.
        stop: End the script when the window is full; otherwise only the watching ends.
        every: Watch one iteration in so many, at a constant rate; 0 for dense first, then geometric.
        watch: False runs the script with treatments only and no evidence but that of the scoring metric.
        rank: Rank of a worker started by the script under distributed training; 0 for the script itself.
        treatments: Runtime treatments: mappings with a ``treatment`` and its parameters.
        seed: Seed set before the script starts, for paired runs; -1 leaves the generators alone.
        metric: Name of the metric to follow, or "" to recognise it.
        user_roots: Folders whose files count as the user's although they lie inside an installed package.
        max_evidence_mb: The log is not written beyond this size.
    """

    target: str
    is_module: bool = False
    arguments: tuple[str, ...] = ()
    out: str = ""
    steps: int = 300
    least_seconds: float = 0.0
    seconds: float = 120.0
    stop: bool = True
    every: int = 0
    watch: bool = True
    rank: int = 0
    treatments: tuple[dict[str, Any], ...] = ()
    seed: int = -1
    metric: str = ""
    user_roots: tuple[str, ...] = ()
    max_evidence_mb: float = 32.0
    extras: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the settings where the script's process reads them."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read settings written by :meth:`save`."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        for name in ("arguments", "treatments", "user_roots"):
            fields[name] = tuple(fields[name])
        return cls(**fields)
