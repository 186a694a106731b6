"""What a forked child of the script may do: compute, and read files. Nothing of it reaches the script or the disk.

A child has the script's open files, its pipes and queues, its semaphores and the memory that it shares with workers.
Whatever is written there, taken from there or locked there would be the script's own loss.
"""

from __future__ import annotations

import os
import queue
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from traindx.core import compat
from traindx.watch.runtime import native_writers

MOST_SHARED = 1 << 29  # bytes of shared memory that a child copies
MAP_FIXED = 0x10  # of Linux, which the module of the standard library does not name
SEMAPHORES = "/dev/shm/sem."
UNUSED = "/.onnxruntime/"  # the index of a database that is opened at import, and that no child uses


class MayNotError(Exception):
    """Something that a child must not do."""


def may_fork(torch: Any) -> bool:
    """A fork leaves no trace: no memory is shared for writing, no device is in use, nobody waits for children."""
    if not sys.platform.startswith("linux") or torch.cuda.is_initialized() or "lmdb" in sys.modules:
        return False
    handler = signal.getsignal(signal.SIGCHLD)
    known = handler in (signal.SIG_DFL, None) or str(getattr(handler, "__module__", "")).startswith("torch.utils.data")
    try:
        shared = [one for one in _shared_memory() if SEMAPHORES not in one[2]]
    except OSError:
        return False
    of_workers = all("/dev/shm/torch_" in line for _, _, line in shared)
    return known and of_workers and sum(last - first for first, last, _ in shared) <= MOST_SHARED


def _shared_memory() -> Iterator[tuple[int, int, str]]:
    """Memory that is shared for writing: first address, end, and its line among the mappings."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            if " rw-s " in line and UNUSED not in line:
                first, last = line.split(" ", 1)[0].split("-")
                yield int(first, 16), int(last, 16), line


def _own_shared_memory() -> None:
    """Put a copy in the place of shared memory, so that the child writes to its own.

    It holds batches that workers made, and semaphores: those of a lock that the child took and did not give back before
    it ended, or of a queue whose places it filled, would keep the script waiting for ever.

    Raises:
        OSError: The memory could not be mapped.
    """
    import ctypes
    import mmap

    system = ctypes.CDLL(None, use_errno=True)
    system.mmap.restype = ctypes.c_void_p
    system.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
    for first, last, _ in list(_shared_memory()):
        kept = ctypes.string_at(first, last - first)
        if system.mmap(first, last - first, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) != first:
            raise OSError(ctypes.get_errno(), "memory could not be mapped")
        ctypes.memmove(first, kept, last - first)


def _without_workers(torch: Any) -> None:
    """Locks and queues of workers are shared with the script: in the child loaders make their batches themselves."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise MayNotError("workers")

    def alone(loader: Any) -> Any:
        vars(loader).update(num_workers=0, timeout=0)
        return compat.own_iterator(torch)(loader)

    workers = compat.worker_iterator(torch)
    for name in ("__init__", "_reset", "_next_data", "_try_put_index"):
        setattr(workers, name, refuse)
    for name in ("_shutdown_workers", "__del__"):
        setattr(workers, name, lambda *_: None)
    torch.utils.data.DataLoader.__iter__ = alone


def confine(torch: Any, answers: int, *, apart: bool, seconds: int) -> None:
    """Nothing printed, nothing written, nothing sent, one thread, little time; called in the child.

    Args:
        torch: The script's torch.
        answers: Number of the open file that the child answers through.
        apart: Of all other open files the child has none; else it has those that are read from disk.
        seconds: Processor time after which it is ended.
    """
    import resource

    _own_shared_memory()
    _without_workers(torch)
    _without_queues()
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number not in (answers, nothing) and (apart or number < 3 or not _only_read(number)):
            with suppress(OSError):
                os.dup2(nothing, number)
    sys.addaudithook(_refuse)
    native_writers.of_what_is_loaded(_refuse_path)
    torch.set_num_threads(1)


def _only_read(number: int) -> bool:
    """A file on disk that is open for reading: of a pipe or a socket, what the child reads is gone for the script."""
    import fcntl  # of systems that fork

    try:
        reads = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        return reads and stat.S_ISREG(os.fstat(number).st_mode)
    except OSError:
        return False


def _without_queues() -> None:
    """What is put into a queue goes nowhere, and nothing comes out of one that other processes fill.

    A queue of threads is the child's own, but nobody empties it there: what finds no place is dropped.
    """

    def refuse(*_: Any, **__: Any) -> Any:
        raise MayNotError("a queue of processes")

    of_processes = sys.modules.get("multiprocessing.queues")
    if of_processes is not None:
        for kind in (of_processes.Queue, of_processes.JoinableQueue, of_processes.SimpleQueue):
            kind.put = lambda *_, **__: None
            kind.get = refuse
    put = queue.Queue.put

    def put_if_there_is_room(
        self: queue.Queue[Any], item: Any, block: bool = True, timeout: float | None = None
    ) -> None:
        with suppress(queue.Full):
            put(self, item, False)

    queue.Queue.put = put_if_there_is_room  # type: ignore[method-assign]


def _refuse_path(path: Any) -> None:
    raise MayNotError(f"save {path!r}")


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if event == "open":
        mode, flags = str(args[1] or ""), int(args[2] or 0)
        if set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            raise MayNotError(f"open {args[0]!r} for writing")
    elif event.startswith(
        ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.kill")
    ) or event.startswith(("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.", "socket.", "shutil.")):
        raise MayNotError(event)
