"""The user's own small functions, tried in a child process: inverses, label maps, masks, figures, losses on two views.

What the script's live frames call is called again in a forked child, with what their names hold, while every call of a
function of the user's is recorded with copies of its arguments; items of data sets are made there, too. Then functions
that are something by name and by signature are given arguments for which the answer is known. The script goes on
meanwhile, and the answer is read when the watching ends.
"""

from __future__ import annotations

import ast
import inspect
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from types import CodeType, FrameType
from typing import Any

from traindx.evidence.base import Record
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.probes import textbook
from traindx.watch.probes.base import FIRST_TRAINING_ITERATION, Experiment
from traindx.watch.probes.captured import detached
from traindx.watch.probes.followed import End, go_on
from traindx.watch.probes.functions import FAMILIES, any_figure, any_relevant
from traindx.watch.probes.item_spots import items_tried
from traindx.watch.probes.labels_compared import any_comparison, labels_compared
from traindx.watch.probes.live_calls import function_of, live_calls, scope_of
from traindx.watch.probes.loader_figures import any_pass, loader_figures
from traindx.watch.probes.loader_passes import passes_in_calls, passes_in_frames
from traindx.watch.probes.making import Child, seed
from traindx.watch.probes.merged_values import any_merging, merged_values
from traindx.watch.probes.pieces import any_pieces, pieces_tried
from traindx.watch.probes.recorded import EnoughError, RecordedCall, Recorder
from traindx.watch.probes.textbook.base import is_known
from traindx.watch.probes.textbook.inline import Scope, any_inline, inline_calls
from traindx.watch.probes.textbook.values import named_values
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.watch import Watch

CPU_LIMIT = 12  # seconds of a child, which is ended then
CPU_LEFT = 7.0  # after which nothing is begun that may take what is left
PIECES_LIMIT = 7  # seconds of a child that tries functions that put pieces together
FOLLOWING_LIMIT = 6  # seconds of a child that goes on with the script
REPLAY_SECONDS = 2.0  # of a child, for calls of the script's
TURNS = (0.1, 0.5)  # seconds of one expression; what takes longer at first comes last
ITEMS = 6
MORE_ITEMS = 24  # of a data set, in what time is left
TRANSFORM = ("monai.", "torchio.")  # data sets of libraries that move what they hand out
PATIENCE = 20.0  # seconds of wall time at the end of the watching
EVALUATION_CALLS = 2  # of a network without gradients, after which those frames are looked at


class UserFunctions(Experiment):
    """Starts a child in the first training iteration that is watched in full, in evaluation, and in inference."""

    subject = "the user's own functions"

    def __init__(self, watch: Watch, backwards: Backwards, networks: Networks, loaders: Loaders) -> None:
        super().__init__(watch)
        self.backwards = backwards
        self.networks = networks
        self.loaders = loaders
        self._children: list[Child] = []
        self._begun: set[str] = set()
        self._evaluations = 0
        self._datasets: list[weakref.ref[Any]] = []
        self._records: list[Record] = []
        self._call: Call | None = None  # the last one of a network, between it and the backward pass

    def install(self) -> None:
        """Subscribe."""
        self.backwards.on_backward(self, after=self._after_backward)
        self.networks.on_call(self, self._called)
        self.loaders.on_read(self, self._read)
        self.watch.closing.append(self._end)

    def _read(self, loader: Loader, batch: Any) -> None:
        dataset = getattr(self.loaders.reading, "_dataset", None)
        if dataset is None or len(self._datasets) >= 4 or any(known() is dataset for known in self._datasets):
            return
        try:
            self._datasets.append(weakref.ref(dataset))
        except TypeError:  # a list, which nobody of the user's makes items of
            return

    def _after_backward(self, backward: Backward) -> None:
        if self._is_looked_at:
            self._start("training")
        self._call = None

    @property
    def _is_looked_at(self) -> bool:
        watch = self.watch
        return watch.level is ObservationLevel.FULL and watch.iteration >= FIRST_TRAINING_ITERATION

    def _called(self, call: Call) -> None:
        torch = self.watch.torch
        if call.grad and self._is_looked_at and "training" not in self._begun:
            args, kwargs = detached(torch, call.args), detached(torch, call.kwargs)
            self._call = replace(call, args=args, kwargs=kwargs, output=None)
        if call.grad or (self.watch.iteration and "training" not in self._begun):
            return
        self._evaluations += 1
        if self._evaluations >= EVALUATION_CALLS:
            self._start("evaluation" if self.watch.iteration else "inference")

    def _start(self, phase: str) -> None:
        """Fork once a phase: with the frames that are live now, above ours."""
        if phase in self._begun or not self.watch.settings.extras.get("functions", True):
            return
        self._begun.add(phase)
        frame = _user_frame(sys._getframe(1))
        if frame is None or sys.gettrace() is not None:
            return
        datasets = [dataset for known in self._datasets if (dataset := known()) is not None]
        with_transforms = any(type(one).__module__.startswith(TRANSFORM) for one in datasets)
        sources = list(_sources_around(frame))
        if any_pieces(sources):
            self._try_pieces(frame)
        if not with_transforms and not _could_be_tried(sources):
            return
        call, self._call = self._call, None
        with self.watch.ours(self):
            child = Child.started(self.watch.torch, self._look(frame, datasets, call), apart=True, seconds=CPU_LIMIT)
            if child is None:
                self.watch.not_examined(self.subject, "the process cannot be forked without a trace")
            else:
                self._children.append(child)
        if phase == "evaluation" and child is not None and _has_figures(sources):
            self._follow()

    def _try_pieces(self, frame: FrameType) -> None:
        """A child of its own: networks are replaced in it, and it is done long before the other one."""
        torch = self.watch.torch

        def look() -> list[Any]:
            self.watch.over = True
            return [[one.kind, one.model_dump(mode="json")] for one in _all_of(lambda: pieces_tried(torch, frame))]

        with self.watch.ours(self):
            child = Child.started(torch, look, apart=True, seconds=PIECES_LIMIT)
            if child is not None:
                self._children.append(child)

    def _follow(self) -> None:
        """A second child goes on with the evaluation to where its figures are made."""
        if threading.current_thread() is not threading.main_thread():
            return
        with self.watch.ours(self):
            child = Child.following(self.watch.torch, self._go_on, FOLLOWING_LIMIT)
            if child is not None:
                self._children.append(child)

    def _go_on(self, end: End) -> None:
        torch = self.watch.torch
        self.watch.over = True
        scopes: dict[CodeType, Scope] = {}

        def look(calls: list[RecordedCall]) -> list[Any]:
            lines = _lines_and_values(torch, _user_frame(sys._getframe(1)), scopes)
            return [[record.kind, record.model_dump(mode="json")] for record in tried(torch, [*calls, *lines])]

        go_on(torch, end, look, left=lambda left: _keep(scopes, left))

    def _look(self, frame: FrameType, datasets: list[Any], call: Call | None) -> Callable[[], list[Any]]:
        watch = self.watch

        def look() -> list[Any]:
            watch.over = True
            watch.torch.set_grad_enabled(True)
            torch, begun = watch.torch, []  # type: ignore[var-annotated]
            calls = recorded_calls(torch, frame, datasets, call, begun)
            passes = chain(passes_in_calls(torch, begun), passes_in_frames(torch, frame))
            found = [*_all_of(lambda: labels_compared(torch, datasets, calls)), *tried(torch, calls)]
            if time.process_time() < CPU_LEFT:  # after what is tried: optimisers make no step from here on
                found += _all_of(lambda: loader_figures(torch, begun, passes))
            found += items_tried(torch, datasets)
            if time.process_time() < CPU_LEFT:
                found += _all_of(lambda: merged_values(torch, datasets))
            return [[record.kind, record.model_dump(mode="json")] for record in found]

        return look

    def records(self) -> Iterable[Record]:
        """What the children found, read when the watching ends."""
        if self.watch.ending:
            until = time.monotonic() + PATIENCE
            while self._children:
                answer = self._children.pop(0).answer(max(1.0, until - time.monotonic()))
                if answer is None:
                    self.watch.not_examined(self.subject, "a child process did not come to its end")
                for kind, fields in answer or ():
                    self._records.append(Record.kinds[kind](**{**fields, "step": self.watch.iteration}))
        yield from _unlike(self._records)

    def _end(self) -> None:
        """Whatever was not waited for."""
        while self._children:
            self._children.pop().answer(0.0)


def _could_be_tried(trees: list[ast.Module]) -> bool:
    known = any_relevant(trees) or textbook.any_relevant(trees) or any_inline(trees, textbook.is_known)
    return known or any_comparison(trees) or any_pass(trees) or any_merging(trees)


def _has_figures(trees: list[ast.Module]) -> bool:
    return any_figure(trees) or textbook.any_figure(trees) or any_inline(trees, lambda name: is_known(name, "figure"))


def _sources_around(frame: FrameType | None) -> Iterator[ast.Module]:
    """Trees of the files whose frames are live, and of all the script's own where these are few: the script waits."""
    live = set()
    while frame is not None:
        if users(frame.f_code.co_filename):
            live.add(frame.f_code.co_filename)
        frame = frame.f_back
    yield from (tree for file in live if (tree := parsed(file)) is not None)
    yield from (tree for file, tree in own_sources().items() if file not in live)


def _user_frame(frame: FrameType | None) -> FrameType | None:
    while frame is not None and not users(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def _unlike(records: list[Record]) -> Iterator[Record]:
    """Without what several children found alike."""
    seen: set[tuple[Any, ...]] = set()
    for record in records:
        key = (
            record.kind,
            record.where,
            getattr(record, "value", ""),
            getattr(record, "second", ""),
            getattr(record, "score", ""),
            getattr(record, "key", ""),
        )
        if key not in seen:
            seen.add(key)
            yield record


def recorded_calls(
    torch: Any, frame: FrameType, datasets: list[Any], call: Call | None = None, begun: list[RecordedCall] | None = None
) -> list[RecordedCall]:
    """Calls of the user's functions, recorded while what the live frames call is called again. In a child only.

    ``begun`` is given those, too, that were not waited for.
    """
    scopes: dict[CodeType, Scope] = {}
    recorder = Recorder(torch, left=lambda left: _keep(scopes, left))
    until = time.process_time() + REPLAY_SECONDS

    def attempt(make: Callable[[], Any], seconds: float) -> bool:
        """Whether it came to its end in time, or failed."""
        seed(torch, 0)
        try:
            with recorder.recording(seconds):
                make()
        except BaseException as error:  # whatever the script's code raises; it must not go on as the script
            return not isinstance(error, EnoughError)
        return True

    late: list[Callable[[], Any]] = []

    def first(make: Callable[[], Any]) -> None:
        if time.process_time() < until and not attempt(make, TURNS[0]):
            late.append(make)

    if call is not None:
        first(lambda: call.network(*call.args, **call.kwargs))
    for dataset in datasets:
        for index in range(ITEMS):
            first(lambda dataset=dataset, index=index: dataset[index])  # type: ignore[misc]
        for make in _transforms_of(dataset):
            first(make)
    for live in live_calls(frame):
        first(lambda live=live: eval(live.expression, live.names))  # type: ignore[misc]
    for make in _methods_beside(frame):
        first(make)
    for make in late:
        if time.process_time() < until:
            attempt(make, TURNS[1])
    recorder.most = MORE_ITEMS  # what one item in some has shows in many
    for dataset in datasets:
        for index in range(ITEMS, MORE_ITEMS):
            if time.process_time() < until:
                attempt(lambda dataset=dataset, index=index: dataset[index], TURNS[0])  # type: ignore[misc]
    if begun is not None:
        begun += [one for calls in recorder.calls.values() for one in calls[:2]]
    return [*recorder.done(), *_lines_and_values(torch, frame, scopes)]


def _lines_and_values(torch: Any, frame: FrameType | None, scopes: dict[CodeType, Scope]) -> Iterator[RecordedCall]:
    """What lines compute, and what names hold, in the functions that returned and in those that are live."""
    while frame is not None:
        _keep(scopes, frame)
        frame = frame.f_back
    for scope in scopes.values():
        yield from inline_calls(torch, scope, textbook.is_known)
        yield from named_values(torch, scope, textbook.is_known)


def _keep(scopes: dict[CodeType, Scope], frame: FrameType) -> None:
    """What the names of a function hold when it returns, or where it is."""
    code = frame.f_code
    if code not in scopes and users(code.co_filename):
        statements = scope_of(code)
        if statements is not None:
            scopes[code] = Scope(code.co_filename, statements, dict(frame.f_locals), frame.f_globals)


def _transforms_of(dataset: Any) -> Iterator[Callable[[], Any]]:
    """What a data set does to what it keeps, once more from the beginning: it may have kept the result (a cache)."""
    fields = getattr(dataset, "__dict__", {})
    data, transform = fields.get("data"), fields.get("transform")
    if isinstance(data, list | tuple) and callable(transform):
        for one in data[:ITEMS]:
            yield lambda one=one: transform(one)  # type: ignore[misc]


def _methods_beside(frame: FrameType | None) -> Iterator[Callable[[], Any]]:
    """Methods of live objects that take what the live method was given, by name: a ``validation_step``."""
    running = set()
    found: list[tuple[Any, dict[str, Any]]] = []
    while frame is not None:
        if users(frame.f_code.co_filename):
            running.add(frame.f_code)
            if "self" in frame.f_locals:
                found.append((frame.f_locals["self"], dict(frame.f_locals)))
        frame = frame.f_back
    for owner, names in found:
        for name in dir(type(owner)):
            function = function_of(inspect.getattr_static(type(owner), name, None))
            if function is None or name.startswith("__") or function.__code__ in running:
                continue
            parameters = list(inspect.signature(function).parameters)[1:]
            if parameters and all(one in names for one in parameters):
                yield lambda function=function, owner=owner, names=names, parameters=parameters: function(  # type: ignore[misc]
                    owner, **{one: names[one] for one in parameters}
                )


def _all_of(family: Callable[[], Iterator[Record]]) -> list[Record]:
    """What an experiment found; one that fails says nothing."""
    try:
        return list(family())
    except Exception:
        return []


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """What every family of experiments found; one that fails says nothing."""
    for family in (*FAMILIES, textbook.tried):
        try:
            yield from family(torch, calls)
        except Exception:
            continue
