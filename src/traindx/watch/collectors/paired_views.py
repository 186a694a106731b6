"""Two tensors of a batch that one network sees in one iteration: are these two views of a sample, or one view twice?"""

from __future__ import annotations

import hashlib
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from traindx.evidence.observed_views import ViewsPaired
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.probes.making import LineTrace, as_array, in_child, seed, traced
from traindx.watch.probes.tracing import floats_in, tensors_of
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.watch import Collector, Watch

LEAST_VALUES = 64  # of an item; fewer are a row of numbers that may well be the same
MOST_TENSORS = 6  # of a batch that are paired
MOST_SAMPLES = 16  # of a batch that are compared
MOST_GIVEN = 16  # inputs of networks in an iteration
VALUES = 512  # that tell one input from another
SEEDS = 8  # of an item that is made again: a single flip comes out the same for all of them once in 128 times
SHARED = "shared"
REMADE = 4  # items that are made again to find the line


@dataclass(eq=False)
class _Pair:
    """Two tensors of one loader's batches."""

    loader: Loader
    names: tuple[str, str]
    dataset: Any = None  # a weak reference
    batches: int = 0
    samples: int = 0
    equal: int = 0
    given: int = 0
    same: int = 0
    how: str = ""
    network: str = ""
    drawn: bool | None = None
    line: CallSite | None = None
    tried: bool = False


@dataclass
class _Given:
    """What a network was given in this iteration."""

    network: Any
    call: Call
    storage: tuple[int, ...]
    shape: tuple[int, ...]
    values: bytes
    output: bytes


class PairedViews(Collector):
    """Compares the tensors of a batch, and what networks are given afterwards; both are only read."""

    subject = "views of one sample"

    def __init__(self, watch: Watch, loaders: Loaders, networks: Networks) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self.networks = networks
        self._bursts = Bursts(dense=16, ratio=1.4)
        self._pairs: dict[tuple[Any, ...], _Pair] = {}
        self._open: list[
            tuple[_Pair, int, bool]
        ] = []  # pairs of the last batch, its samples, and whether all are equal
        self._given: list[_Given] = []

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_read(self, self._read)
        self.networks.on_call(self, self._called)

    def end(self) -> None:
        """Keep nothing of an iteration alive."""
        self._given.clear()
        self._open.clear()

    # -- batches -------------------------------------------------------------------------------------------------

    def _read(self, loader: Loader, batch: Any) -> None:
        self._given.clear()
        self._open.clear()
        dataset = getattr(self.loaders.reading, "_dataset", None)
        key = (loader.made, id(dataset))
        images = [(name, one) for name, one in tensors_in(batch, self.watch.torch) if self._is_image(one)]
        if len(images) < 2 or not self._bursts.wanted(key):
            return
        for (name, one), (other_name, other) in itertools.combinations(images[:MOST_TENSORS], 2):
            if one.shape != other.shape or one.dtype != other.dtype:
                continue
            pair = self._pairs.setdefault((*key, name, other_name), _Pair(loader, (name, other_name)))
            if pair.dataset is None and dataset is not None:
                with suppress(TypeError):
                    pair.dataset = weakref.ref(dataset)
            samples, equal = _compared(one.detach(), other.detach())
            pair.batches += samples > 0
            pair.samples += samples
            pair.equal += equal
            if samples:
                self._open.append((pair, int(one.shape[0]), samples == equal))

    def _is_image(self, tensor: Any) -> bool:
        return bool(
            tensor.dim() >= 3
            and tensor.shape[0] >= 1
            and tensor[0].numel() >= LEAST_VALUES
            and tensor.dtype is not self.watch.torch.bool
            and tensor.layout is self.watch.torch.strided
            and not self.watch.would_wait(tensor)
        )

    # -- networks ------------------------------------------------------------------------------------------------

    def _called(self, call: Call) -> None:
        if not self._open or len(self._given) >= MOST_GIVEN:
            return
        torch = self.watch.torch
        outputs = [one.detach() for one in floats_in(torch, call.output) if one.dim()]
        inputs = [one for one in tensors_of(torch, (call.args, call.kwargs)) if self._is_image(one)]
        for one in inputs:
            if one.requires_grad or not one.is_floating_point():
                continue
            samples = {count for _, count, _ in self._open}
            parts = [one.detach()]
            halves = [outputs]
            if one.shape[0] not in samples and one.shape[0] % 2 == 0 and one.shape[0] // 2 in samples:
                half = one.shape[0] // 2
                parts = [one.detach()[:half], one.detach()[half:]]
                halves = [[out[:half] for out in outputs], [out[half:] for out in outputs]]
            for part, given in zip(parts, halves, strict=True):
                if part.shape[0] in samples:
                    storage = (part.untyped_storage().data_ptr(), part.storage_offset())
                    values, output = _digest([part]), _digest(given)
                    self._meet(_Given(call.network, call, storage, tuple(part.shape), values, output))

    def _meet(self, now: _Given) -> None:
        """Compare an input with what networks were given before in this iteration."""
        for before in self._given:
            one_network = before.network is now.network
            if before.shape != now.shape or before.storage == now.storage or not (before.call.grad or now.call.grad):
                continue
            if not one_network and type(before.network) is not type(now.network):
                continue
            halves = self._rows(now.call) != now.shape[0]
            how = (
                "two-networks" if not one_network else "one-call" if before.call is now.call and not halves else SHARED
            )
            for pair, count, equal in self._open:
                if count != now.shape[0] or (equal and before.values != now.values):
                    continue
                if how == SHARED and pair.how != SHARED:
                    pair.how, pair.given, pair.same = how, 0, 0
                if pair.how in ("", how):
                    pair.how, pair.network = how, type(now.network).__name__
                    pair.given += 1
                    pair.same += before.values == now.values and before.output == now.output
        self._given.append(now)

    def _rows(self, call: Call) -> int:
        """Samples of the first image that a call was given."""
        given = tensors_of(self.watch.torch, (call.args, call.kwargs))
        return next((int(one.shape[0]) for one in given if one.dim() >= 3), -1)

    # -- items ---------------------------------------------------------------------------------------------------

    def records(self) -> Iterable[ViewsPaired]:
        """One a pair of tensors of a loader."""
        for pair in self._pairs.values():
            if not pair.given or not pair.loader.trains:
                continue
            if pair.samples == pair.equal and pair.batches >= 3 and not pair.tried:
                pair.tried = True
                self._try(pair)
            made = pair.loader.made
            yield ViewsPaired(
                where=made.location() if made is not None else None,
                dataset=pair.loader.dataset,
                item=pair.loader.item,
                made_at=pair.line.location() if pair.line is not None else None,
                parts=pair.names,
                batches=pair.batches,
                samples=pair.samples,
                equal=pair.equal,
                given=pair.given,
                same=pair.same,
                how=pair.how,
                network=pair.network,
                drawn=pair.drawn,
                step=self.watch.iteration,
            )

    def _try(self, pair: _Pair) -> None:
        """Make an item again with other random numbers, and find the line that makes the second view."""
        torch = self.watch.torch
        dataset = pair.dataset() if pair.dataset is not None else None
        if dataset is None or not hasattr(dataset, "__getitem__"):
            return

        def varies() -> list[Any] | None:
            found = []
            for number in range(SEEDS):
                seed(torch, number)
                found.append(twice_in(dataset[0]))
            return [len(set(found)) > 1] if None not in found else None

        answer = in_child(torch, varies)
        pair.drawn = bool(answer[0]) if answer else None
        place = in_child(torch, lambda: _made_at(torch, dataset)) if answer else None
        pair.line = CallSite(*place) if place else None


def _compared(one: Any, other: Any) -> tuple[int, int]:
    """Samples with something in them that were compared, and those of them that are equal bit for bit."""
    first, second = one[:MOST_SAMPLES].flatten(1), other[:MOST_SAMPLES].flatten(1)
    filled = (first != first[:, :1]).any(1)
    return int(filled.sum()), int(((first == second).all(1) & filled).sum())


def _digest(tensors: list[Any]) -> bytes:
    """What tells a few tensors from others."""
    values = (sample(one, VALUES).numpy().tobytes() for one in tensors if one.numel())
    return hashlib.blake2b(b"".join(values), digest_size=16).digest()


def _arrays(value: Any, depth: int = 0) -> Iterator[Any]:
    """All images in an item, as arrays of numpy."""
    if isinstance(value, dict) and depth < 4:
        for one in list(value.values())[:32]:
            yield from _arrays(one, depth + 1)
    elif isinstance(value, list | tuple) and depth < 4:
        for one in value[:32]:
            yield from _arrays(one, depth + 1)
    else:
        array = as_array(value)
        if array is not None and array.ndim >= 2 and array.size >= LEAST_VALUES:
            yield array


def _print(array: Any) -> str:
    head = f"{array.shape}{array.dtype}".encode()
    return hashlib.blake2b(head + array.tobytes(), digest_size=16).hexdigest()


def twice_in(item: Any) -> str | None:
    """What tells the image that an item holds twice from others; None where none is held twice."""
    seen: set[str] = set()
    for array in _arrays(item):
        if (array == array.flat[0]).all():
            continue
        digest = _print(array)
        if digest in seen:
            return digest
        seen.add(digest)
    return None


def held_twice(digest: str) -> Callable[[dict[str, Any]], bool | None]:
    """Asked line by line: is an image, known by its digest, held once (False) or twice (True)?"""

    def looks(arrays: dict[str, Any]) -> bool | None:
        prints = [_print(array) for name, array in arrays.items() if name != "return" and array.size >= LEAST_VALUES]
        count = prints.count(digest)
        return None if not count else count > 1

    return looks


def _made_at(torch: Any, dataset: Any) -> list[Any] | None:
    """The line after which some item held one image twice, and only once before."""
    for number in range(REMADE):
        index = number % len(dataset)
        seed(torch, number)
        digest = twice_in(dataset[index])
        if digest is None:
            continue
        seed(torch, number)
        trace = LineTrace(held_twice(digest))
        if twice_in(traced(trace, dataset, index)) == digest and trace.broken is not None:
            return list(trace.broken)
    return None
