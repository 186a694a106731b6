"""Arms of a script on a Ray cluster: each runs in a copy of the working folder, on whichever node has room.

The copy is sent once and unpacked for every arm, so arms that run at the same time do not meet each other's files, and
the user's own folder is not touched.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from traindx import extras
from traindx.errors import UsageError
from traindx.evidence.observed import Ending, ScriptRun
from traindx.trials.ray_pool import join_cluster
from traindx.trials.script.pairing import OUTPUT, ArmResult, run_arm
from traindx.watch.runtime.settings import Settings

__all__ = ["ArmsOnRay", "moved", "packed", "root_of"]

MOST_MIB = 512  # of a working folder that is sent
LEFT_OUT = frozenset(
    {".git", ".venv", "venv", "__pycache__", "node_modules", "traindx-out", ".mypy_cache", ".ruff_cache"}
)
MOST_OUTPUT = 1 << 20  # bytes of what an arm printed that come back
POLL_SECONDS = 1.0


class ArmsOnRay:
    """Starts arms on a cluster, as many at once as there are workers.

    Args:
        settings: The script.
        workers: Arms at once.
        address: Of the cluster; empty for a local one, which lives as long as this object. Nodes of another need this
            version of traindx, what the script imports, and its data at the same place.
        out: Evidence directory, which is not sent.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: The script lies outside the working folder, or that is too large to be sent.
    """

    def __init__(self, settings: Settings, workers: int, address: str, out: Path) -> None:
        extras.require("cluster", "--executor ray")
        import ray

        self.workers = workers
        self._ray: Any = ray
        self._root, self._target = root_of(settings), settings.target
        self._ours = join_cluster(ray, address, workers, None)
        self._folder = ray.put(packed(self._root, (out,)))
        self._task = ray.remote(num_cpus=1, max_retries=1)(in_a_copy)
        self._asked: dict[Any, Path] = {}

    def start(self, settings: Settings, asked: Mapping[str, Any]) -> Any:
        """Start an arm with the arguments of :func:`~traindx.trials.script.pairing.run_arm`; what stands for it."""
        here = {name: value for name, value in asked.items() if name not in ("directory", "progress")}
        handle = self._task.remote(self._folder, str(self._root), settings, here)
        self._asked[handle] = asked["directory"]
        return handle

    def ended(self, handles: Sequence[Any]) -> Iterator[tuple[Any, ArmResult]]:
        """Arms that have ended, after a second at most. One whose node died twice is broken.

        What it printed is written where it would be if it had run here.
        """
        done, _ = self._ray.wait(list(handles), num_returns=1, timeout=POLL_SECONDS)
        for handle in done:
            directory = self._asked.pop(handle)
            try:
                result, printed = self._ray.get(handle)
            except self._ray.exceptions.WorkerCrashedError:
                run = ScriptRun(target=self._target, ending=Ending.KILLED, message="its worker died twice")
                result, printed = ArmResult(run=run, broke=run.message), b""
            directory.mkdir(parents=True, exist_ok=True)
            (directory / OUTPUT).write_bytes(printed)
            yield handle, result

    def close(self) -> None:
        """End what still runs, and a cluster of our own."""
        for handle in self._asked:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.cancel(handle, force=True)
        self._asked.clear()
        if self._ours:
            self._ray.shutdown()
            self._ours = False


def in_a_copy(folder: bytes, root: str, settings: Settings, asked: dict[str, Any]) -> tuple[ArmResult, bytes]:
    """Run one arm in a fresh copy of the working folder.

    Args:
        folder: The packed working folder.
        root: Where it lies on the user's machine.
        settings: The script, with paths of that machine.
        asked: Arguments of ``run_arm`` but for its directory.

    Returns:
        What it gave, and the end of what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="traindx-arm-") as place:
        copy = Path(place).resolve() / "work"
        with tarfile.open(fileobj=io.BytesIO(folder)) as archive:
            archive.extractall(copy, filter="tar")
        directory = Path(place) / "arm"
        given = {**asked, "treatments": moved(asked.get("treatments", ()), root, str(copy))}
        result = run_arm(at(settings, root, copy), directory=directory, **given)
        result = replace(result, imported=tuple(moved(result.imported, str(copy), root)))
        printed = directory / OUTPUT
        return result, printed.read_bytes()[-MOST_OUTPUT:] if printed.exists() else b""


def at(settings: Settings, root: str, copy: Path) -> Settings:
    """The same script in a copy of its working folder."""
    known: dict[str, Any] = moved(asdict(settings), root, str(copy))
    known["extras"].setdefault("directory", str(copy))
    known["extras"]["home"] = str(copy)
    for name in ("arguments", "treatments", "user_roots"):
        known[name] = tuple(known[name])
    return Settings(**known)


def moved(value: Any, root: str, copy: str) -> Any:
    """Text, and containers of it, with every path below one folder as a path below another."""
    if isinstance(value, str):
        return copy if value == root else value.replace(f"{root.rstrip('/')}/", f"{copy}/")
    if isinstance(value, Mapping):
        return {key: moved(one, root, copy) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [moved(one, root, copy) for one in value]
    return value


def root_of(settings: Settings) -> Path:
    """The folder that a script is run in, which is what is sent.

    Raises:
        UsageError: The script is not in it.
    """
    root = Path(settings.extras.get("directory") or os.curdir).resolve()
    target = (root / settings.target).resolve()
    if not settings.is_module and not target.is_relative_to(root):
        raise UsageError(
            f"{settings.target} lies outside {root}, which is what a cluster is sent",
            expected="the script inside the working folder: call traindx from the folder that holds it",
        )
    return root


def packed(root: Path, left_out: Sequence[Path] = ()) -> bytes:
    """A folder as one archive, without environments, caches, repositories and earlier evidence.

    Raises:
        UsageError: It is larger than :data:`MOST_MIB`.
    """
    skipped = {one.resolve() for one in left_out}
    size = 0

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        nonlocal size
        path = root / member.name
        if (
            path.name in LEFT_OUT
            or path.resolve() in skipped
            or not (member.isfile() or member.isdir() or member.issym())
        ):
            return None
        size += member.size
        if size > MOST_MIB << 20:
            raise UsageError(
                f"{root} holds more than {MOST_MIB} MiB, which is the most that is sent to a cluster",
                expected="data outside the working folder, at the same place on every node",
            )
        return member

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(root, arcname=".", filter=wanted)
    return buffer.getvalue()
