"""Sampling loops as they run: each input of a network as a linear function of the input and output before it.

Nothing is called again. Between two calls of one network, every line that computed something of the input's shape is
taken apart too, so that a formula can be traced to its line. Loops that take one image at a time, that start again for
the next, or that end in an exception are no different: a loop is a chain of calls, and it ends where the chain breaks.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from traindx.core.combinations import Array, Combination, combination
from traindx.core.later import Later
from traindx.evidence.base import Record
from traindx.evidence.sampled import ClampOnTheWay, LineValue, LoopSeen, TableSeen, TimesTold
from traindx.watch.collectors.ingredients import (
    DiffusionIngredients,
    Ingredients,
    Told,
    by_name,
    is_image,
    numbers,
    rows,
)
from traindx.watch.collectors.networks import Networks, place_of
from traindx.watch.collectors.noised_inputs import NoisedInputs
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.probes.tracing import tensors_of
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.watch import Collector, Watch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Later("numpy")

LINEAR = 1e-4  # residual of a step, relative
MOST_CALLS = 60
MOST_LOOPS = 3  # at one line
MOST_BROKEN = 8  # chains at one line that were no loops, until it is left alone
DETAILED = 12  # steps whose lines are taken apart
MOST_EVENTS = 120  # of a step
MOST_OUTPUTS = 6  # with one input
MIN_STEPS = 2
CLAMPS = ("clamp", "clip", "clamp_", "clip_", "hardtanh", "clamp_min", "clamp_max", "minimum", "maximum")


@dataclass
class _Event:
    """A value of the input's shape that a line computed."""

    site: CallSite
    values: Array
    clamped: Array | None = None  # what went into it, if it is a clamp


@dataclass
class _Step:
    """A call of the network, and what followed until the next."""

    inputs: dict[str, Array]
    outputs: list[Array]
    told: dict[str, Told]
    events: list[_Event] = field(default_factory=list)
    after: Ingredients = field(default_factory=Ingredients)


@dataclass
class _Chain:
    """A loop so far."""

    network: Any
    site: CallSite
    shape: tuple[int, ...]
    batch: int
    dtype: str
    resolution: float
    key: str = ""
    previous: _Step | None = None
    history: list[tuple[Array, Array]] = field(default_factory=list)
    start: tuple[float, float] = (0.0, 1.0)
    calls: int = 1
    steps: list[tuple[float, float, float, float, int, bool]] = field(default_factory=list)
    told: list[dict[str, Told]] = field(default_factory=list)
    picked: list[tuple[tuple[int, int], ...]] = field(default_factory=list)
    lines: list[LineValue] = field(default_factory=list)
    clamps: dict[tuple[CallSite, float, float], ClampOnTheWay] = field(default_factory=dict)
    made_by: CallSite | None = None
    in_training: bool = False  # its first call had gradients: most probably the only one of this iteration
    since: int = 0  # number of the first ingredient after the last call


class SamplingLoops(Collector):
    """Follows calls of outermost networks, and of inner ones that were seen to be trained on noised inputs."""

    subject = "sampling loops"

    def __init__(
        self,
        watch: Watch,
        calls: TorchCalls,
        networks: Networks,
        ingredients: DiffusionIngredients,
        noised: NoisedInputs,
    ) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.ingredients = ingredients
        self.noised = noised
        self._chains: dict[int, _Chain] = {}
        self._open: _Chain | None = None  # the one that was called last
        self._written: dict[tuple[str, CallSite], int] = {}
        self._broken: dict[tuple[str, CallSite], int] = {}

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_ended(self, self._ended)
        self.calls.on_every(self, self._computed)

    def begin(self) -> None:
        """A chain does not outlive an iteration."""
        self._close_all()

    def end(self) -> None:
        """Nor does it begin in one."""
        self._close_all()

    def records(self) -> Iterable[Record]:
        """Loops are written when they end; the last one ends with the run."""
        self._close_all()
        return ()

    # -- what lines compute ------------------------------------------------------------------------------------------

    def _computed(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        chain = self._open
        if chain is None or self.networks.depth or chain.previous is None or tuple(out.shape) != chain.shape:
            return
        if chain.calls == 1 and chain.in_training:
            return
        if len(chain.steps) >= DETAILED or len(chain.previous.events) >= MOST_EVENTS or not self.watch.here_and_now:
            return
        with self.watch.ours(self):
            site = here()
            if site is None or not is_image(self.watch.torch, out):
                return
            before = None
            if getattr(function, "__name__", "") in CLAMPS and args and is_image(self.watch.torch, args[0]):
                before = rows(args[0]) if not function.__name__.endswith("_") else None
            chain.previous.events.append(_Event(site, rows(out), before))

    # -- calls -----------------------------------------------------------------------------------------------------

    def _ended(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        networks = self.networks
        if not networks.has_parameters(module):
            return
        key = (type(module).__name__, networks.made.get(module))
        if networks.depth and key not in self.noised.trained:
            return
        torch = self.watch.torch
        outputs = [one for one in tensors_of(torch, output) if is_image(torch, one)][:1]
        if not outputs:
            return
        named = by_name(module, args, kwargs)
        inputs: dict[str, Any] = {}
        for name, value in named:
            for one in tensors_of(torch, value):
                if is_image(torch, one):
                    for suffix, part in _parts_like(one, outputs[0]):
                        inputs.setdefault(name + suffix, part)
                break
        if not inputs:
            return
        self._arrived(module, args, kwargs, inputs, outputs[0])

    def _arrived(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: dict[str, Any], output: Any
    ) -> None:
        first = next(iter(inputs.values()))
        output = output[:, : first.shape[1]]
        halves = _is_doubled(first)
        shape = (len(first) // 2, *first.shape[1:]) if halves else tuple(first.shape)
        shown = {name: rows(value[: shape[0]]) for name, value in inputs.items()}
        given = [rows(output[: shape[0]]), rows(output[shape[0] :])] if halves else [rows(output)]
        chain = self._chains.get(id(module))
        told = dict(self.ingredients.since(chain.since if chain is not None else 0).told)
        for name, value in by_name(module, args, kwargs):
            one = numbers(self.watch.torch, value)
            if one is not None:
                told[name] = one
        if chain is not None and (chain.network() is not module or chain.shape != tuple(shape)):
            self._close(chain)
            chain = None
        step = _Step(shown, given, told)
        if chain is not None and chain.previous is not None:
            before = self.ingredients.since(chain.since)
            chain.previous.after.draws += before.draws
            chain.previous.after.picked += before.picked
            chain.since = self.ingredients.serial
            if self._goes_on(chain, step):
                self._open = chain
                return
            self._close(chain)
        site = here() or CallSite("", 0, "")
        key = (type(module).__name__, site)
        if self._written.get(key, 0) >= MOST_LOOPS or self._broken.get(key, 0) >= MOST_BROKEN:
            return
        dtype = str(first.dtype).removeprefix("torch.")
        chain = _Chain(
            weakref.ref(module),
            site,
            tuple(shape),
            int(shape[0]),
            dtype,
            float(self.watch.torch.finfo(first.dtype).eps),
            previous=step,
        )
        chain.in_training = bool(self.watch.grad_enabled)
        chain.since = self.ingredients.serial
        chain.told.append(told)
        self._chains[id(module)] = self._open = chain

    def _goes_on(self, chain: _Chain, step: _Step) -> bool:
        """Take the next call into the chain, unless it is the first of another loop."""
        previous = chain.previous
        assert previous is not None
        if not chain.key:
            moving = [
                name
                for name, values in step.inputs.items()
                if name in previous.inputs and not np.array_equal(values, previous.inputs[name])
            ]
            if not moving:
                return self._same_input(chain, step, next(iter(step.inputs)))
            chain.key = min(moving, key=lambda name: self._fit(chain, step, name)[0].residual)
            first = previous.inputs[chain.key]
            chain.start = (float(first.mean()), float(first.std()))
        if chain.key not in step.inputs or chain.key not in previous.inputs:
            return False
        if np.array_equal(step.inputs[chain.key], previous.inputs[chain.key]):
            return self._same_input(chain, step, chain.key)
        fit, order, guided = self._fit(chain, step, chain.key)
        if chain.steps and (_starts_again(chain.told, step.told) or (fit.known and fit.residual > 0.5)):
            return False
        outputs = len(previous.outputs)
        draws = self._draws(chain, previous)
        noise = float(np.sqrt(sum(one**2 for one in fit.weights[1 + outputs : 1 + outputs + len(draws)])))
        output = sum(fit.weights[1 : 1 + outputs]) + sum(fit.weights[1 + outputs + len(draws) + 1 :][1::2])
        x = fit.weights[0] + sum(fit.weights[1 + outputs + len(draws) + 1 :][0::2])
        if fit.known and abs(x) < 1e-6 and abs(output) < 1e-6:
            return False  # noise drawn anew: the next loop begins
        if not fit.known:
            x = output = float("nan")
        chain.calls += 1
        chain.steps.append((x, output, noise, fit.residual, order, guided))
        picked = [(one.table, one.entries[0]) for one in previous.after.picked if len(set(one.entries)) == 1]
        chain.picked.append(tuple(picked))
        self._look_at_lines(chain, previous, len(chain.steps) - 1, step)
        mean = np.mean(previous.outputs, axis=0)
        chain.history = [(previous.inputs[chain.key], mean), *chain.history[:1]]
        chain.previous = step
        chain.told.append(step.told)
        if chain.calls >= MOST_CALLS:
            self._close(chain)
            self._written[type(chain.network()).__name__, chain.site] = MOST_LOOPS
        return True

    def _same_input(self, chain: _Chain, step: _Step, key: str) -> bool:
        """Another call with the same input: with and without a condition, or several for their spread."""
        previous = chain.previous
        assert previous is not None
        if len(previous.outputs) < MOST_OUTPUTS and not any(
            np.array_equal(step.outputs[0], one) for one in previous.outputs
        ):
            previous.outputs += step.outputs
        return True

    def _draws(self, chain: _Chain, step: _Step) -> list[Array]:
        return [draw.values for draw in step.after.draws if draw.shape == chain.shape][:3]

    def _columns(self, chain: _Chain, step: _Step, key: str, *, history: int = 0) -> list[Array]:
        x = step.inputs[key]
        columns = [x, *step.outputs, *self._draws(chain, step), np.ones_like(x)]
        for old_x, old_output in chain.history[:history]:
            columns += [old_x, old_output]
        return [column.reshape(-1) for column in columns]

    def _good(self, step: _Step) -> NDArray[np.bool_] | None:
        """Values that no clamp changed."""
        good: NDArray[np.bool_] | None = None
        for event in step.events:
            if event.clamped is not None:
                same = np.isclose(event.clamped, event.values, rtol=1e-6, atol=1e-9).reshape(-1)
                good = same if good is None else good & same
        return good

    def _fit(self, chain: _Chain, step: _Step, key: str) -> tuple[Combination, int, bool]:
        """The next input as a function of what was before: coefficients, order, and whether something was added."""
        previous = chain.previous
        assert previous is not None
        good = self._good(previous)
        wanted = step.inputs[key].reshape(-1)
        best, order = combination(self._columns(chain, previous, key), wanted, good), 1
        limit = max(LINEAR, 20 * chain.resolution)
        if not best.known and len(previous.outputs) > 1:  # nearly the same several times
            del previous.outputs[1:]
            best = combination(self._columns(chain, previous, key), wanted, good)
        if best.known and best.residual <= limit:
            return best, order, False
        for history in range(1, len(chain.history) + 1):
            longer = combination(self._columns(chain, previous, key, history=history), wanted, good)
            if longer.known and longer.residual <= limit:
                return longer, history + 1, False
        columns = self._columns(chain, previous, key)
        outputs = len(previous.outputs)
        draws = len(self._draws(chain, previous))
        for event in reversed(previous.events):
            values = event.values.reshape(-1)
            fit = combination(columns, values, good)
            if not fit.known or fit.residual > limit or abs(fit.weights[0]) < 1e-6:
                continue
            if draws and not any(abs(one) > 1e-9 for one in fit.weights[1 + outputs : 1 + outputs + draws]):
                continue
            if np.corrcoef(values, wanted)[0, 1] > 0.9:
                return fit, 1, True
            break
        return best, order, False

    # -- lines -----------------------------------------------------------------------------------------------------

    def _look_at_lines(self, chain: _Chain, step: _Step, number: int, following: _Step) -> None:
        if not step.events:
            return
        good = self._good(step)
        columns = self._columns(chain, step, chain.key)
        outputs, draws = len(step.outputs), len(self._draws(chain, step))
        seen: dict[tuple[CallSite, float, float, float], LineValue] = {}
        wanted = following.inputs[chain.key]
        for event in step.events:
            if event.clamped is not None:
                self._clamped(chain, event, columns, good, outputs, number)
            fit = combination(columns, event.values.reshape(-1), good)
            if np.array_equal(event.values, wanted):
                chain.made_by = event.site
            constant = abs(fit.weights[1 + outputs + draws]) if fit.known else 1.0
            if not fit.known or fit.residual > 1e-4 or constant > 1e-3:
                continue
            of_output = sum(fit.weights[1 : 1 + outputs])
            of_noise = float(np.sqrt(sum(one**2 for one in fit.weights[1 + outputs : 1 + outputs + draws])))
            key = (event.site, round(fit.weights[0], 6), round(of_output, 6), round(of_noise, 6))
            seen[key] = LineValue(
                step=number,
                where=event.site.location(),
                of_x=fit.weights[0],
                of_output=of_output,
                of_noise=of_noise,
            )
        chain.lines += list(seen.values())[-24:]

    def _clamped(
        self,
        chain: _Chain,
        event: _Event,
        columns: list[Array],
        good: NDArray[np.bool_] | None,
        outputs: int,
        number: int,
    ) -> None:
        assert event.clamped is not None
        changed = ~np.isclose(event.clamped, event.values, rtol=1e-6, atol=1e-9)
        low, high = float(event.values.min()), float(event.values.max())
        below, above = changed & (event.clamped < event.values), changed & (event.clamped > event.values)
        low = low if below.any() else float("-inf")
        high = high if above.any() else float("inf")
        fit = combination(columns, event.clamped.reshape(-1), good)
        known = fit.known and fit.residual < 1e-4
        if not changed.any():
            return
        key = (event.site, low, high)
        old = chain.clamps.get(key)
        share = float(changed.mean())
        if old is None or share > old.changed:
            chain.clamps[key] = ClampOnTheWay(
                where=event.site.location(),
                of_x=fit.weights[0] if known else float("nan"),
                of_output=sum(fit.weights[1 : 1 + outputs]) if known else float("nan"),
                low=low,
                high=high,
                changed=share,
                step=number,
            )

    # -- writing ----------------------------------------------------------------------------------------------------

    def _close_all(self) -> None:
        for chain in list(self._chains.values()):
            self._close(chain)
        self._chains.clear()
        self._open = None

    def _close(self, chain: _Chain) -> None:
        for number, one in list(self._chains.items()):
            if one is chain:
                del self._chains[number]
        if self._open is chain:
            self._open = None
        network = chain.network()
        known = [residual for x, _, _, residual, _, _ in chain.steps if np.isfinite(x)]  # the rest was clamped away
        linear = sum(residual < max(LINEAR, 20 * chain.resolution) for residual in known)
        if network is None or linear < MIN_STEPS or linear < 0.5 * len(known):
            if network is not None and not chain.in_training:
                broken = (type(network).__name__, chain.site)
                self._broken[broken] = self._broken.get(broken, 0) + 1
            return
        key = (type(network).__name__, chain.site)
        self._written[key] = self._written.get(key, 0) + 1
        if self._written[key] > MOST_LOOPS:
            return
        tables = sorted({table for picked in chain.picked for table, _ in picked})
        told = _series(chain.told)
        self.watch.sink.event(
            LoopSeen(
                network=key[0],
                made=place_of(self.networks.made.get(network)),
                where=place_of(chain.site),
                of_x=tuple(step[0] for step in chain.steps),
                of_output=tuple(step[1] for step in chain.steps),
                of_noise=tuple(step[2] for step in chain.steps),
                residual=tuple(step[3] for step in chain.steps),
                order=max(step[4] for step in chain.steps),
                followed_by=tuple(int(step[5]) for step in chain.steps),
                told=tuple(TimesTold(name=name, dtype=one.dtype, values=one.values) for name, one in told.items()),
                picked=tuple(tuple((tables.index(table), index) for table, index in picked) for picked in chain.picked),
                tables=tuple(
                    TableSeen(name=self.ingredients.tables[one].name, values=self.ingredients.tables[one].values)
                    for one in tables
                ),
                lines=tuple(chain.lines),
                clamps=tuple(chain.clamps.values()),
                made_by=place_of(chain.made_by),
                batch=chain.batch,
                dimensions=len(chain.shape) - 2,
                dtype=chain.dtype,
                resolution=chain.resolution,
                start_mean=chain.start[0],
                start_sd=chain.start[1],
                calls=chain.calls,
                step=self.watch.iteration,
            )
        )


def _starts_again(before: list[dict[str, Told]], now: dict[str, Any]) -> bool:
    """Some number that moved from call to call is what it was at the first one."""
    return any(
        name in now and name in before[-1] and now[name].values == first.values != before[-1][name].values
        for name, first in before[0].items()
    )


def _series(told: list[dict[str, Told]]) -> dict[str, Told]:
    """What every call was told under one name, where all samples were told the same."""
    found: dict[str, Told] = {}
    for name in told[0]:
        values = [one[name].values for one in told if name in one]
        if len(values) == len(told) and all(len(set(each)) == 1 for each in values):
            found[name] = Told(tuple(each[0] for each in values), told[0][name].dtype)
    return found


def _parts_like(value: Any, output: Any) -> Iterator[tuple[str, Any]]:
    """The parts of an input that have the output's shape, of which it may have more channels (a learned variance)."""
    own, other = tuple(value.shape), tuple(output.shape)
    if len(own) != len(other) or own[:1] + own[2:] != other[:1] + other[2:]:
        return
    if own[1] == other[1] or 2 * own[1] == other[1]:
        yield "", value
    elif own[1] > other[1]:
        yield " (first channels)", value[:, : other[1]]
        yield " (last channels)", value[:, own[1] - other[1] :]


def _is_doubled(value: Any) -> bool:
    """The same images twice in one batch, for guidance with and without a condition."""
    if len(value) % 2 or len(value) < 2:
        return False
    half = len(value) // 2
    return bool(np.array_equal(rows(value[:half]), rows(value[half:])))
