"""How an item of a data set is made, line by line: in a forked child, so that nothing of the script can change.

What a batch shows (boxes with their corners swapped, a mask that does not lie on its image) says *that* a relation
broke. The line that broke it is found by making items once more under a line trace, in a child process that has the
data set as it is now, may write nothing to disk, and ends without running anybody's exit handlers.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

from traindx.core import compat
from traindx.watch.runtime import native_writers
from traindx.watch.runtime.call_sites import CallSite, users

SECONDS = 8.0  # of wall time, after which the child is ended
CPU_SECONDS = 4
ENOUGH_SECONDS = 1.5  # of processor time, after which no further item is begun
MOST_VALUES = 4_000_000
MOST_SHARED = 1 << 29  # bytes of shared memory that a child copies
MAP_FIXED = 0x10  # of Linux, which the module of the standard library does not name
Looks = Callable[[dict[str, Any]], "bool | None"]
"""Given the arrays that a line left in reach: is the relation broken (True), whole (False), or unseen (None)?"""


class MayNotError(Exception):
    """Something that a child must not do."""


def broken_at(torch: Any, dataset: Any, most: int, looks: Callable[[], Looks]) -> CallSite | None:
    """The line in the making of some items after which a relation was broken for good, or None where none is found.

    What one line breaks and a later one repairs (an image that is flipped before its mask) is no answer.

    Args:
        torch: The script's torch.
        dataset: A data set with an index.
        most: Items to make, each with its own random state; where there are fewer, they come again.
        looks: Makes the question that is asked for one item.
    """

    def look() -> list[Any] | None:
        begun, count = time.process_time(), len(dataset)
        for number in range(min(most, 4 * count)):
            if time.process_time() - begun > ENOUGH_SECONDS:
                break
            seed(torch, number)
            trace = LineTrace(looks())
            item = traced(trace, dataset, number % count)
            if trace.looks(arrays_in({"item": item})) and trace.broken is not None:
                return list(trace.broken)
        return None

    found = in_child(torch, look)
    return CallSite(*found) if found else None


def traced(trace: Any, dataset: Any, index: int) -> Any:
    """An item, made under a trace function."""
    sys.settrace(trace)
    try:
        return dataset[index]
    finally:
        sys.settrace(None)


def in_child(torch: Any, look: Callable[[], list[Any] | None]) -> list[Any] | None:
    """What a function finds in a forked child, as a list of numbers and text; None where it finds nothing.

    None, too, where a fork would leave a trace, or the child fails or takes too long.
    """
    child = Child.started(torch, look)
    return child.answer() if child is not None else None


class Child:
    """A forked child that looks for something while the script goes on; :meth:`answer` waits for what it found."""

    def __init__(self, pid: int, reading: int, offsets: list[tuple[int, int]]) -> None:
        self.pid = pid
        self._reading = reading
        self._offsets = offsets

    @classmethod
    def started(
        cls, torch: Any, look: Callable[[], list[Any] | None], *, apart: bool = False, seconds: int = CPU_SECONDS
    ) -> Child | None:
        """Fork, or None where that would leave a trace.

        Args:
            torch: The script's torch.
            look: What the child does; what it returns is its answer.
            apart: The child has none of the open files: the script goes on with them meanwhile.
            seconds: Processor time after which the child is ended.
        """
        if not _may_fork(torch):
            return None
        offsets = [] if apart else _offsets()
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            _in_child(torch, look, writing, apart, seconds)
        os.close(writing)
        return cls(pid, reading, offsets)

    @classmethod
    def following(
        cls, torch: Any, begin: Callable[[Callable[[Callable[[], list[Any]]], None]], None], seconds: int
    ) -> Child | None:
        """Fork a child that goes on with the script, as far as a child may; None where that would leave a trace.

        Args:
            torch: The script's torch.
            begin: Called in the child, with a function that ends it: it is given what the child looks for then.
            seconds: Processor time after which the child is ended.

        Returns:
            The child; None in the child itself, which returns to the script.
        """
        if not _may_fork(torch):
            return None
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            return cls(pid, reading, [])
        try:
            _confine(torch, writing, seconds)
            begin(lambda look: _end(look, writing))
        except BaseException:  # whatever it is, it must not go on as a second run of the script
            os._exit(0)
        return None

    def answer(self, seconds: float = SECONDS) -> list[Any] | None:
        """What the child found; it is ended if it takes longer than this from now on."""
        try:
            text = _answer(self._reading, seconds)
        finally:
            os.close(self._reading)
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            for number, offset in self._offsets:
                with suppress(OSError):
                    os.lseek(number, offset, os.SEEK_SET)
        try:
            found: list[Any] = json.loads(text)
        except ValueError:
            return None
        return found


def _may_fork(torch: Any) -> bool:
    """A fork leaves no trace: no memory is shared for writing, no device is in use, nobody waits for children."""
    if not sys.platform.startswith("linux") or torch.cuda.is_initialized() or "lmdb" in sys.modules:
        return False
    handler = signal.getsignal(signal.SIGCHLD)
    known = handler in (signal.SIG_DFL, None) or str(getattr(handler, "__module__", "")).startswith("torch.utils.data")
    try:
        shared = list(_shared_memory())
    except OSError:
        return False
    of_workers = all("/dev/shm/torch_" in line for _, _, line in shared)
    return known and of_workers and sum(last - first for first, last, _ in shared) <= MOST_SHARED


def _shared_memory() -> Iterator[tuple[int, int, str]]:
    """Memory that is shared for writing: first address, end, and its line among the mappings.

    Semaphores are left out, and the index of a database that onnxruntime opens for itself when it is imported: no child
    of ours uses it.
    """
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            if " rw-s " in line and not any(one in line for one in ("/dev/shm/sem.", "/.onnxruntime/")):
                first, last = line.split(" ", 1)[0].split("-")
                yield int(first, 16), int(last, 16), line


def _own_shared_memory() -> None:
    """Batches that workers made lie in shared memory: put a copy in its place, so that the child writes to its own.

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


def _offsets() -> list[tuple[int, int]]:
    """Where every open file stands; a child that reads from one moves it for both."""
    found: list[tuple[int, int]] = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append((int(name), os.lseek(int(name), 0, os.SEEK_CUR)))
    return found


def _answer(reading: int, seconds: float) -> str:
    """What the child wrote before it ended; nothing if it takes too long."""
    until, text = time.monotonic() + seconds, b""
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([reading], [], [], left)
        piece = os.read(reading, 65536) if ready else b""
        if not piece:
            break
        text += piece
    return text.decode(errors="replace")


def _in_child(
    torch: Any, look: Callable[[], list[Any] | None], writing: int, apart: bool = False, seconds: int = CPU_SECONDS
) -> None:
    """Look, and write the answer; never returns."""
    try:
        _confine(torch, writing if apart else None, seconds)
    except BaseException:
        os._exit(0)
    _end(look, writing)


def _end(look: Callable[[], list[Any] | None], writing: int) -> None:
    """Write the answer and end the process."""
    try:
        found = look()
        if found is not None:
            os.write(writing, json.dumps(found).encode())
    except BaseException:  # whatever it is, it must not go on as a second run of the script
        pass
    finally:
        os._exit(0)


def _confine(torch: Any, only: int | None, seconds: int) -> None:
    """Nothing printed, nothing written, nothing sent, one thread, little time; of the open files ``only`` one."""
    import resource

    _own_shared_memory()
    _without_workers(torch)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    numbers = [0, 1, 2]
    if only is not None:
        numbers += [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in numbers:
        if number not in (only, nothing):
            with suppress(OSError):
                os.dup2(nothing, number)
    sys.addaudithook(_refuse)
    native_writers.of_what_is_loaded(_refuse_path)
    torch.set_num_threads(1)


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


def seed(torch: Any, number: int) -> None:
    """Other random numbers for every item; what has a generator of its own goes on with it."""
    random.seed(number)
    torch.manual_seed(number)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(number)


class LineTrace:
    """A trace function that asks a question after every line of the user's.

    Attributes:
        broken: The line after which the answer became yes, and has been so since.
    """

    def __init__(self, looks: Looks) -> None:
        self.looks = looks
        self.broken: CallSite | None = None
        self._now = False
        self._lines: dict[int, int] = {}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered."""
        if not users(frame.f_code.co_filename):
            return None
        self._lines.pop(id(frame), None)
        return self.line

    def line(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A line is about to run, or the function returns: the line before it has ended."""
        if event in ("line", "return"):
            before = self._lines.get(id(frame))
            answer = self.looks(arrays_in(frame.f_locals, arg if event == "return" else None))
            if answer and not self._now and before is not None:  # what was handed in was made by the line that calls
                self.broken = CallSite(frame.f_code.co_filename, before, frame.f_code.co_qualname)
            elif answer is False:
                self.broken = None
            self._now = self._now if answer is None else answer
            self._lines[id(frame)] = frame.f_lineno
        return self.line


def arrays_in(names: dict[str, Any], returned: Any = None) -> dict[str, Any]:
    """Everything among local variables that is an array, as arrays of numpy; one level of containers is opened."""
    found: dict[str, Any] = {}
    for name, value in [*names.items(), ("return", returned)]:
        if name == "self":
            continue
        if type(value) is dict:
            inner: Iterable[tuple[Any, Any]] = list(value.items())[:32]
        elif type(value) in (list, tuple):
            inner = enumerate(value[:32])
        else:
            inner = [("", value)]
        for key, one in inner:
            array = as_array(one)
            if array is not None:
                found[f"{name}[{key}]" if key != "" else name] = array
    return found


def as_array(value: Any) -> Any | None:
    """An array of numpy with the values of an array, a tensor or a picture; None for anything else."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if type(value).__module__.startswith("PIL."):
        value = numpy.asarray(value)
    elif hasattr(value, "detach") and hasattr(value, "numpy") and not isinstance(value, type):
        value = value.detach().numpy() if value.device.type == "cpu" else None
    if not isinstance(value, numpy.ndarray) or not 2 <= value.size <= MOST_VALUES or value.dtype.kind not in "buif":
        return None
    return value
