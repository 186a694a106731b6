"""Networks that are trained on noised inputs: by how much of image and noise, at what time, towards what target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from traindx.core.combinations import Array, combination
from traindx.core.later import Later
from traindx.evidence.base import Record
from traindx.evidence.sampled import NoisedDraws, TableSeen
from traindx.watch.collectors.ingredients import DiffusionIngredients, Draw, by_name, is_image, numbers, rows
from traindx.watch.collectors.networks import Networks, place_of
from traindx.watch.collectors.torch_calls import TorchCalls, named_functions
from traindx.watch.probes.tracing import tensors_of
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.watch import Collector, Watch

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

EXACT = 2e-5  # residual of a combination of 32-bit numbers, relative
HALF = 8e-3  # the same where the input went through a type of 16 bit
COMPARISONS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sub")
MOST_CANDIDATES = 8
MOST_SAMPLES = 400


@dataclass
class _Trained:
    """What is gathered of one network."""

    network: str
    made: CallSite | None
    site: CallSite
    a: list[float] = field(default_factory=list)
    s: list[float] = field(default_factory=list)
    told: dict[str, list[float]] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    index: list[int] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)
    of_x0: list[float] = field(default_factory=list)
    of_noise: list[float] = field(default_factory=list)
    compared: CallSite | None = None
    low: float = float("inf")
    high: float = float("-inf")
    moments: list[tuple[float, float]] = field(default_factory=list)


@dataclass(eq=False)  # arrays have no truth value
class _Open:
    """The last noised call of this iteration, until its output is compared with something."""

    trained: _Trained
    key: tuple[str, CallSite | None]
    input: Array
    outputs: list[tuple[tuple[int, ...], Array]]
    x0: Array
    noise: Array


class NoisedInputs(Collector):
    """Takes inputs of networks apart into image and noise.

    Attributes:
        trained: By class and line of construction of the network.
    """

    subject = "noised inputs"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks, ingredients: DiffusionIngredients) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.ingredients = ingredients
        self.trained: dict[tuple[str, CallSite | None], _Trained] = {}
        self._held: list[tuple[tuple[int, ...], Array]] = []
        self._open: list[_Open] = []

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self.calls.on(self, named_functions(torch, ("mul", "lerp")), self._multiplied)
        self.calls.on(self, named_functions(torch, COMPARISONS), self._compared)
        self.networks.on_ended(self, self._ended)

    def begin(self) -> None:
        """A new iteration."""
        self._held, self._open = [], []

    # -- what x0 may be --------------------------------------------------------------------------------------------

    def _multiplied(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Whatever is scaled outside the networks, and has the shape of noise, may be the image."""
        if self.watch.grad_enabled and self.networks.depth <= 1 and len(self._held) < MOST_CANDIDATES:
            for value in args[:2]:
                if is_image(self.watch.torch, value) and not value.requires_grad:
                    held = rows(value)
                    if not any(shape == tuple(value.shape) and np.array_equal(held, one) for shape, one in self._held):
                        self._held.append((tuple(value.shape), held))

    def _candidates(self, draw: Draw) -> Iterator[Array]:
        if draw.like is not None:
            yield draw.like
        for shape, held in self._held:
            if shape == draw.shape and not np.array_equal(held, draw.values):
                yield held

    # -- calls -----------------------------------------------------------------------------------------------------

    def _ended(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        draws = self.ingredients.now.draws
        if not draws or not self.watch.grad_enabled or len(self.networks.stack) > 6:
            return
        torch = self.watch.torch
        if not self.networks.has_parameters(module):
            return
        shapes = {draw.shape for draw in draws}
        outputs = [one for one in tensors_of(torch, output) if is_image(torch, one)]
        if not any(_fits(tuple(one.shape), shape) for one in outputs for shape in shapes):
            return
        key = (type(module).__name__, self.networks.made.get(module))
        trained = self.trained.get(key)
        if trained is not None and len(trained.a) >= MOST_SAMPLES:
            return
        for value in tensors_of(torch, (args, kwargs)):
            if not is_image(torch, value):
                continue
            found = self._taken_apart(value, draws)
            if found is not None:
                site = here() or CallSite("", 0, "")
                self._forget_layers_of(module, rows(value))
                trained = self.trained.setdefault(key, _Trained(*key, site))
                self._note(trained, value, found, by_name(module, args, kwargs))
                shown = [(tuple(one.shape), rows(one)) for one in outputs]
                self._open.append(_Open(trained, key, rows(value), shown, found[0], found[1]))
                return

    def _forget_layers_of(self, module: Any, value: Array) -> None:
        """A layer of this network that was given the same input is no network of its own."""
        for held in list(self._open):
            if held.input.shape == value.shape and np.array_equal(held.input, value):
                self._open.remove(held)
                if held.key != (type(module).__name__, self.networks.made.get(module)):
                    self.trained.pop(held.key, None)

    def _taken_apart(self, value: Any, draws: list[Draw]) -> tuple[Array, Array, list[tuple[float, float]]] | None:
        """Image, noise, and their coefficients in each row of an input."""
        exact = EXACT if value.dtype.itemsize >= 4 else HALF
        for draw in reversed(draws):
            for part in _parts(value, draw.shape):
                shown = rows(part)
                if np.array_equal(shown, draw.values):
                    continue
                for x0 in self._candidates(draw):
                    if x0.shape != shown.shape or draw.values.shape != shown.shape:
                        continue
                    pairs = _levels(shown, x0, draw.values, exact)
                    if pairs is not None:
                        return x0, draw.values, pairs
        return None

    def _note(
        self,
        trained: _Trained,
        value: Any,
        found: tuple[Array, Array, list[tuple[float, float]]],
        given: list[tuple[str, Any]],
    ) -> None:
        x0, _, pairs = found
        batch = len(value)
        trained.a += [a for a, _ in pairs]
        trained.s += [s for _, s in pairs]
        trained.low, trained.high = min(trained.low, float(x0.min())), max(trained.high, float(x0.max()))
        trained.moments.append((float(x0.mean()), float(x0.var())))
        told = dict(self.ingredients.now.told)
        for name, one in given:
            value_of_it = numbers(self.watch.torch, one)
            if value_of_it is not None:
                told[name] = value_of_it
        before = len(trained.a) - len(pairs)
        for name, (values, dtype, _) in told.items():
            if len(values) not in (1, batch):
                continue
            one_each = values * batch if len(values) == 1 else values
            series = trained.told.setdefault(name, [float("nan")] * before)
            if len(series) == before:
                series.extend(one_each[: len(pairs)])
                trained.dtypes[name] = dtype
        for series in trained.told.values():
            series.extend([float("nan")] * (len(trained.a) - len(series)))
        picked = [one for one in self.ingredients.now.picked if len(one.entries) in (1, batch)]
        index = picked[-1].entries if picked else ()
        index = index * batch if len(index) == 1 else index
        trained.index += [*index[: len(pairs)]] if index else [-1] * len(pairs)
        trained.tables += [one.table for one in picked if one.table not in trained.tables]

    # -- what the output is compared with ----------------------------------------------------------------------------

    def _compared(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._open or len(args) < 2 or not self.watch.grad_enabled:
            return
        torch = self.watch.torch
        pair = [one for one in args[:2] if is_image(torch, one)]
        if len(pair) != 2 or pair[0].shape != pair[1].shape:
            return
        first, second = rows(pair[0]), rows(pair[1])
        for held in self._open:
            if len(held.trained.of_x0) > MOST_SAMPLES or held.x0.shape != first.shape:
                continue
            for predicted, wanted in ((first, second), (second, first)):
                if any(one.shape == predicted.shape and np.array_equal(one, predicted) for _, one in held.outputs):
                    weights = _levels(wanted, held.x0, held.noise, EXACT)
                    if weights is not None and len(held.trained.of_x0) + len(weights) <= len(held.trained.a):
                        held.trained.of_x0 += [one for one, _ in weights]
                        held.trained.of_noise += [one for _, one in weights]
                        held.trained.compared = here()
                    self._open.remove(held)
                    return

    # -- writing ----------------------------------------------------------------------------------------------------

    def records(self) -> Iterable[Record]:
        """One record a network."""
        for trained in self.trained.values():
            name, times = _time_of(trained)
            means = [mean for mean, _ in trained.moments]
            yield NoisedDraws(
                network=trained.network,
                made=place_of(trained.made),
                where=place_of(trained.site),
                a=tuple(trained.a),
                s=tuple(trained.s),
                times=tuple(times),
                told_by=name,
                time_dtype=trained.dtypes.get(name, ""),
                index=tuple(trained.index) if -1 not in trained.index else (),
                tables=tuple(
                    TableSeen(name=self.ingredients.tables[one].name, values=self.ingredients.tables[one].values)
                    for one in trained.tables
                ),
                of_x0=tuple(trained.of_x0) if len(trained.of_x0) == len(trained.a) else (),
                of_noise=tuple(trained.of_noise) if len(trained.of_x0) == len(trained.a) else (),
                compared_at=place_of(trained.compared),
                data_low=trained.low,
                data_high=trained.high,
                data_mean=float(np.mean(means)),
                data_sd=float(np.sqrt(np.mean([one for _, one in trained.moments]) + np.var(means))),
                step=self.watch.iteration,
            )


def _fits(shape: tuple[int, ...], noise: tuple[int, ...]) -> bool:
    """An output of the noise's shape, or with twice the channels (a learned variance)."""
    same = len(shape) == len(noise) and shape[:1] + shape[2:] == noise[:1] + noise[2:]
    return same and shape[1] in (noise[1], 2 * noise[1])


def _parts(value: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """The input itself, or its first or last channels where conditions are joined to it."""
    own = tuple(value.shape)
    if own == shape:
        yield value
    elif len(own) == len(shape) and own[:1] + own[2:] == shape[:1] + shape[2:] and own[1] > shape[1]:
        yield value[:, : shape[1]]
        yield value[:, own[1] - shape[1] :]


def _levels(value: Array, x0: Array, noise: Array, exact: float) -> list[tuple[float, float]] | None:
    """Coefficients of image and noise in every row; None if some row is not made of them alone."""
    found = []
    for row in range(len(value)):
        if value.shape[1] < 6:
            return None
        fit = combination([x0[row], noise[row]], value[row])
        if not fit.known and float(np.std(x0[row])) == 0:  # a blank image
            continue
        if not fit.known or fit.residual > exact:
            return None
        found.append((fit.weights[0], fit.weights[1]))
    return found if len(found) == len(value) else None


def _time_of(trained: _Trained) -> tuple[str, list[float]]:
    """Whose numbers are a function of the noise level: an argument of the network first, then any module."""
    own = [name for name in trained.told if " of " not in name]
    for name in [*own, *(name for name in trained.told if name not in own)]:
        values = trained.told[name]
        if len(values) != len(trained.s) or any(np.isnan(values)) or len(set(values)) < 2:
            continue
        order = np.argsort(values, kind="stable")
        steps = np.diff(np.asarray(trained.s)[order])
        if (steps >= -1e-6).all() or (steps <= 1e-6).all():
            return name, values
    return "", []
