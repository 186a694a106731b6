"""The watch: knows the iteration, decides when to look, and keeps its own failures to itself.

Collectors (one a subject) install their hooks once and are told when an iteration begins and ends. Between watched
iterations the function mode and the module hooks are physically removed, so that an unwatched iteration pays for
nothing but the optimiser's step hook.
"""

from __future__ import annotations

import os
import re
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from traindx.core import compat
from traindx.evidence.base import Action, NotExamined, Record
from traindx.evidence.observed import IterationsSeen
from traindx.finding import Location
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.incomplete import incomplete_kinds
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.schedule import Bursts, ObservationLevel, Schedule
from traindx.watch.runtime.settings import WINDOW_FILE, Settings, write_heartbeat
from traindx.watch.runtime.sink import Sink

if TYPE_CHECKING:
    import torch

MAX_FAILURES = 3
_OF_OURS: Any = ("ignore", None, Warning, re.compile(r"traindx\."), 0)  # warnings of what we compute ourselves
BURST_CALLS = 48
BEFORE_TRAINING = 1_000_000  # network calls: a script that only infers is looked at until its window ends


class WindowEnded(KeyboardInterrupt):
    """Raised in the script's thread, right after an optimiser step: the script ends as by Ctrl-C.

    Its ``finally`` blocks run, and so does ``except KeyboardInterrupt: save()``.
    """


class Collector:
    """One subject that is watched. Subclasses override what they need; anything they raise is caught by the watch."""

    subject = "something"

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.failures = 0

    def install(self) -> None:
        """Patch torch; called once, right after it was imported."""

    def begin(self) -> None:
        """An iteration begins that is watched."""

    def end(self) -> None:
        """An iteration that was watched ended."""

    def records(self) -> Iterable[Record]:
        """Summaries over everything seen so far."""
        return ()


class _Within(AbstractContextManager[None]):
    """Our code inside our code, some hundred times an iteration: a failure is this collector's alone."""

    __slots__ = ("collector", "watch")

    def __init__(self, watch: Watch, collector: Collector | None) -> None:
        self.watch, self.collector = watch, collector

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if self.collector is None or not isinstance(error, Exception):
            return False
        self.watch._failed(self.collector, error)
        return True


class Watch:
    """State shared by all collectors.

    Attributes:
        torch: The torch module of the script.
        iteration: Optimiser iterations completed.
        closeness: How closely the present iteration is watched.
        busy: Our own code runs; nothing it does may be recorded.
        grad_enabled: Whether gradients were enabled in the script when our own code began to run.
        in_backward: A backward pass runs (checkpointed segments are computed again in it).
        quiet_depth: Above zero while compiled code or an optimiser runs.
        ending: The last summary is written.
        started: When the first iteration ended, 0 before that; ``started_at`` in processor time of its thread.
        blind_in: The last iteration in which compiled code ran, of whose calls nothing was seen.
        stepped_at: Lines that were executing when an optimiser stepped. Where such a line is also the place of other
            things, it drives the loop from outside (``trainer.fit()``) and is useless as a place.
    """

    def __init__(self, torch_module: Any, settings: Settings, sink: Sink) -> None:
        self.torch: Any = torch_module
        self._transform = compat.transform_asked()
        self.grad: Any = torch_module.autograd.grad  # torch's own, before we or the script put a wrapper over it
        self.settings = settings
        self.sink = sink
        self.patches = Patches()
        self.schedule = Schedule(settings.every)
        self.bursts = Bursts()
        self.collectors: list[Collector] = []
        self.iteration = 0
        self.level = ObservationLevel.OFF
        self.watched = 0
        self.busy = False
        self.in_backward = False
        self.grad_enabled = True
        self.quiet_depth = 0
        self.blind_in = -1
        self.over = False
        self.ending = False
        self.burst_left = 0
        self.burst_depth = 0
        self.pid = os.getpid()
        self.thread = threading.get_ident()
        self.started = 0.0
        self.started_at = 0.0
        self.last = 0.0
        self.backwards = 0
        self.steps = 0
        self.stepped_at: set[tuple[str, int]] = set()
        self.closing: list[Callable[[], Any]] = []  # what else is to be taken away at the end
        self.weak_tables: list[Any] = []  # by tensor; torch swaps no tensors to which there are weak references
        self.attach_hooks: list[Callable[[], Any]] = []
        self.detach_hooks: list[Callable[[], Any]] = []
        self.between_calls: list[Callable[[], Any]] = []  # for what cannot be done while torch handles a call
        self.attached = False
        self.hold: Callable[[int], bool] = lambda iteration: False  # other ranks must be told first
        self._clock: weakref.ref[Any] | None = None
        self._optimizers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._missed_ticks = 0
        self._begun = False
        self._first_call = 0.0  # of a network, before any training
        self._beat = 0.0
        self._said: set[str] = set()
        self._unread: list[tuple[Collector, Callable[[], Any]]] = []

    # -- failures ------------------------------------------------------------------------------------------------

    def ours(self, collector: Collector | None = None) -> AbstractContextManager[None]:
        """Our own code: unseen by ourselves, without gradients, and unable to fail the script."""
        return _Within(self, collector) if self.busy else self._ours(collector)

    @contextmanager
    def _ours(self, collector: Collector | None) -> Iterator[None]:
        torch = self.torch
        before = self.grad_enabled = torch.is_grad_enabled()
        modes = compat.take_dispatch_modes(torch)  # the script's, which would count, change or refuse what we do
        recorded = compat.pause_profiler(torch)
        self.busy = True
        filters: Any = warnings.filters
        filters.insert(0, _OF_OURS)  # not through ``filterwarnings``: torch and the script would warn anew
        try:
            with compat.no_function_modes(torch):  # neither the script's function modes nor its tensor classes
                compat.set_grad_enabled(torch, False)  # (of which a function mode would be told)
                try:
                    yield
                finally:
                    compat.set_grad_enabled(torch, before)
        except WindowEnded:
            raise
        except Exception as error:
            self._failed(collector, error)
        finally:
            self.busy = False
            with suppress(ValueError):
                filters.remove(_OF_OURS)
            if recorded:
                compat.resume_profiler(torch)
            compat.put_dispatch_modes(modes)

    def _failed(self, collector: Collector | None, error: Exception) -> None:
        """Write down that something could not be watched, and drop a collector that keeps failing."""
        subject = collector.subject if collector is not None else "the run"
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "?"
        incomplete = incomplete_kinds(collector, self.collectors)
        self.not_examined(f"watching of {subject}", f"{type(error).__name__}: {error} ({place})", incomplete=incomplete)
        if collector is not None:
            collector.failures += 1
            if collector.failures >= MAX_FAILURES and collector in self.collectors:
                self.collectors.remove(collector)

    def not_examined(
        self, subject: str, reason: str, where: CallSite | None = None, *, incomplete: tuple[str, ...] = ()
    ) -> None:
        """Say once that something is not looked at, and why."""
        if subject in self._said:
            return
        self._said.add(subject)
        place = where.location() if where is not None else None
        record = NotExamined(
            subject=subject,
            reason=reason,
            where=place,
            step=self.iteration,
            action=Action.REPAIR if incomplete else Action.NOTHING,
            incomplete=incomplete,
        )
        self.sink.event(record)

    def shown(self, site: CallSite | None, made: CallSite | None = None) -> Location | None:
        """The place to show: the line itself, or where the library object was made if the line only drives the loop."""
        if site is not None and site.file and not ((site.file, site.line) in self.stepped_at and made is not None):
            return site.location()
        return made.location() if made is not None and made.file else None

    # -- looking -------------------------------------------------------------------------------------------------

    @property
    def here_and_now(self) -> bool:
        """False in forked children, in other threads, in our own code and where nothing should be looked at.

        Inside a transform of ``torch.func`` tensors have no values that could be read.
        """
        return (
            not self.busy
            and not self.over
            and os.getpid() == self.pid
            and threading.get_ident() == self.thread
            and self._transform() is None
        )

    def would_wait(self, tensor: Any) -> bool:
        """Reading a value of this tensor would make the script wait for a device, and this is not the moment."""
        return not self.may_wait and tensor.device.type != "cpu"

    def read_later(self, collector: Collector, read: Callable[[], Any]) -> None:
        """Do something that waits for a device when the next watched iteration begins, or when the watching ends."""
        self._unread.append((collector, read))

    def _read_now(self) -> None:
        unread, self._unread = self._unread, []
        for collector, read in unread:
            with self.ours(collector):
                read()

    @property
    def may_wait(self) -> bool:
        """An iteration or burst is watched, or the watching ends: waiting for a device is part of the price."""
        return self.level is not ObservationLevel.OFF or self.attached or self.ending

    def number(self, value: Any, otherwise: float) -> float:
        """A number that may be a tensor (a rate, a limit); ``otherwise`` where a device would have to answer."""
        if isinstance(value, self.torch.Tensor) and self.would_wait(value):
            return otherwise
        return float(value)

    @property
    def looking(self) -> bool:
        """True while this iteration or burst is watched."""
        return self.attached and self.quiet_depth == 0

    def move_to_this_thread(self) -> bool:
        """Watch the calling thread from now on, if nothing was trained in the one that is watched; True if so."""
        if self.steps or self.backwards or self._clock is not None:
            return False
        self.detach()
        self.thread = threading.get_ident()
        if self._begun and self.level is not ObservationLevel.OFF:
            self.attach()
        return True

    def attach(self) -> None:
        """Put function mode and module hooks in place."""
        if self.attached or self.quiet_depth or self.over:
            return
        self.attached = True
        for hook in self.attach_hooks:
            hook()

    def detach(self) -> None:
        """Take them away again."""
        if not self.attached:
            return
        self.attached = False
        for hook in self.detach_hooks:
            hook()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nothing of ours is in place inside (compiled code, tracing, optimiser internals)."""
        was = self.attached
        self.quiet_depth += 1
        self.blind_in = self.iteration
        self.detach()
        try:
            yield
        finally:
            self.quiet_depth -= 1
            if was and not self.over and os.getpid() == self.pid:
                self.attach()

    def begin_burst(self, place: object) -> None:
        """Something that is not a training step begins (validation, sampling); look at it if it is its turn."""
        if self.over or self.quiet_depth or not self.here_and_now:
            return
        if self.attached:
            self.burst_depth += bool(self.burst_left)
        elif not self._begun:
            self.look_before_training()
        elif not self.settings.every and self.bursts.wanted(place):
            self.burst_left = BURST_CALLS
            self.burst_depth = 1
            self.attach()

    def look_before_training(self) -> None:
        """Weights are loaded, or a network is about to be used, and no training has begun: perhaps none ever will."""
        if (
            self._begun
            or self.attached
            or self.over
            or self.quiet_depth
            or not self.here_and_now
            or self._inferred_enough
        ):
            return
        self.burst_left = BEFORE_TRAINING
        self.attach()

    @property
    def _inferred_enough(self) -> bool:
        """The window of a script that only infers has passed."""
        seconds = self.settings.seconds
        return bool(self._first_call and seconds) and time.monotonic() - self._first_call >= seconds

    def end_burst(self) -> None:
        """It ended; of several that are nested (``no_grad`` around ``eval`` and ``train``) the outermost counts."""
        if not self._begun:  # what is done with the output comes after it
            return
        self.burst_depth -= 1
        if self.burst_depth > 0:
            return
        if self.burst_left and self.level is ObservationLevel.OFF:
            self.detach()
        self.burst_left = 0

    def spend_burst(self) -> None:
        """One network call of a burst was looked at."""
        if not self._begun:
            self._first_call = self._first_call or time.monotonic()
            self._sign_of_life(time.monotonic(), 0.0)
            if self._inferred_enough:
                self.burst_left = 1
        if self.burst_left:
            self.burst_left -= 1
            if not self.burst_left and self.level is ObservationLevel.OFF:
                self.detach()

    def weak_table(self) -> Any:
        """A table whose keys are tensors, by identity and without keeping them alive."""
        table = self.torch.utils.weak.WeakIdKeyDictionary()
        self.weak_tables.append(table)
        return table

    def allow_swapping(self) -> None:
        """Forget two tensors when the script exchanges them, which torch refuses where weak references exist."""

        def make(original: Any) -> Any:
            def swap_tensors(t1: Any, t2: Any) -> Any:
                for table in self.weak_tables:
                    for tensor in (t1, t2):
                        table.pop(tensor, None)
                return original(t1, t2)

            return swap_tensors

        self.patches.wrap(self.torch.utils, "swap_tensors", make)

    # -- iterations ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin with iteration 0: when an optimiser is made, or at the first backward pass without one."""
        if self._begun or self.over:
            return
        self._begun = True
        self._first_call = 0.0
        self.burst_left = self.burst_depth = 0
        self.level = self.schedule.level(0)
        if self.level is not ObservationLevel.OFF:
            self.watched = 1
            self.attach()
            self._tell("begin")

    def optimizer_stepped(self, optimizer: torch.optim.Optimizer, *, skipped: bool = False) -> None:
        """An optimiser took a step, or its gradient scaler skipped it: perhaps an iteration ended.

        Raises:
            WindowEnded: The window is full and the script is to be ended.
        """
        if self.over or os.getpid() != self.pid:
            return
        self._optimizers.add(optimizer)
        self.steps += 0 if skipped else 1
        site = here(2)
        if site is not None:
            self.stepped_at.add((site.file, site.line))
        clock = self._clock() if self._clock is not None else None
        if clock is None or self._missed_ticks > 20:
            if self._clock is not None:
                self.schedule.new_stage(self.iteration + 1)
            self._clock, clock = weakref.ref(optimizer), optimizer
        if clock is optimizer:
            self._missed_ticks = 0
            self._tick()
        else:
            self._missed_ticks += 1

    def backward_done(self) -> None:
        """A backward pass ended; without any optimiser it marks the iterations."""
        self.backwards += 1
        if self._clock is None and self.backwards >= 8:
            self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        if not self.started:
            self.started, self.started_at = now, time.thread_time()
        self._sign_of_life(now, self.started)
        self.last = now
        if self.level is not ObservationLevel.OFF:
            self._tell("end")
        self.iteration += 1
        self.burst_left = self.burst_depth = 0
        if self.iteration in (2, 16, 64, 256) or self.iteration % 1024 == 0:
            self.write_snapshot()
        if self._window_is_full(now) and not self.hold(self.iteration):
            self._end_window()
            return
        before, self.level = self.level, self.schedule.level(self.iteration)
        if self.level is not ObservationLevel.OFF:
            self.watched += 1
            self.attach()
            self._tell("begin")
        elif before is not ObservationLevel.OFF or self.attached:
            self.detach()

    def _sign_of_life(self, now: float, started: float) -> None:
        """At most once a second, for the process that waits; with the time of the first iteration, 0 before that."""
        if now - self._beat > 1.0:
            self._beat = now
            write_heartbeat(self.sink.directory, started)

    def _window_is_full(self, now: float) -> bool:
        settings = self.settings
        passed = now - self.started
        if settings.steps and self.iteration >= settings.steps and passed >= settings.least_seconds:
            return True
        return bool(settings.seconds) and passed >= settings.seconds

    def _end_window(self) -> None:
        self.finish()
        (self.sink.directory / WINDOW_FILE).write_text(str(self.iteration), encoding="utf-8")
        if self.settings.stop and threading.current_thread() is threading.main_thread():
            raise WindowEnded

    def _tell(self, what: str) -> None:
        if what == "begin":
            self._read_now()
        for collector in list(self.collectors):
            with self.ours(collector):
                getattr(collector, what)()

    # -- writing -------------------------------------------------------------------------------------------------

    def write_snapshot(self) -> None:
        """Write the summaries of all collectors."""
        records: list[Record] = [self._summary()]
        for collector in list(self.collectors):
            with self.ours(collector):
                records.extend(collector.records())
        with self.ours():
            self.sink.snapshot(records)

    def _summary(self) -> IterationsSeen:
        driven = "optimiser" if self._clock is not None else "backward" if self.iteration else "nothing"
        return IterationsSeen(
            iterations=self.iteration,
            watched=min(self.watched, max(self.iteration, 1)),
            seconds=max(0.0, self.last - self.started),
            driven_by=driven,
            optimizers=len(self._optimizers),
            backwards=self.backwards,
            step=self.iteration,
        )

    def silence(self) -> None:
        """The training happens in other processes, which write the evidence: say nothing more here."""
        self.detach()
        self.over = True
        self.patches.undo()
        self.sink.close()

    def finish(self) -> None:
        """The watching ends: everything is taken away and the last snapshot is written. Safe to call twice."""
        if self.over or os.getpid() != self.pid:
            return
        self.ending = True
        if self.level is not ObservationLevel.OFF:
            self._tell("end")
        self._read_now()
        self.detach()
        for hook in self.between_calls:
            hook()
        self.write_snapshot()
        self.over = True
        self.patches.undo()
        for close in self.closing:
            close()
        for table in self.weak_tables:
            table.clear()
