"""What noising and sampling are made of: noise that torch draws, entries of tables, numbers that modules are told.

Kept for one iteration, as small samples: nothing of the script's is kept alive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from traindx.core.combinations import Array
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.torch_calls import TorchCalls, argument, named_functions
from traindx.watch.probes.captured import parameter_names
from traindx.watch.runtime.stats import has_values
from traindx.watch.runtime.watch import Collector, Watch

VALUES = 512  # of a sample
ROWS = 8
MOST_DRAWS = 96
MOST_ENTRIES = 2000  # of a table that is kept; longer ones are no tables of timesteps
MOST_TABLES = 16
MOST_PICKS = 512
MOST_NUMBERS = 64


@dataclass
class Draw:
    """Noise: its shape, its values, and those of the tensor it was drawn in the likeness of."""

    shape: tuple[int, ...]
    values: Array
    like: Array | None = None
    serial: int = 0


@dataclass
class Table:
    """A vector that entries are picked from."""

    name: str
    values: tuple[float, ...]


class Pick(NamedTuple):
    """Entries that were picked from a table."""

    table: int
    entries: tuple[int, ...]
    serial: int


class Told(NamedTuple):
    """Numbers that a module was given, and their type."""

    values: tuple[float, ...]
    dtype: str
    serial: int = 0


@dataclass
class Ingredients:
    """Everything of an iteration, in order."""

    draws: list[Draw] = field(default_factory=list)
    picked: list[Pick] = field(default_factory=list)
    told: dict[str, Told] = field(default_factory=dict)


class DiffusionIngredients(Collector):
    """Notes what is drawn, picked and told in watched iterations.

    Attributes:
        now: Of this iteration.
        serial: Number of the next one.
        tables: Tables by number.
    """

    subject = "noise and schedules"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.now = Ingredients()
        self.serial = 0
        self.tables: list[Table] = []
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._picks: set[Any] = set()

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self.calls.on(self, named_functions(torch, ("randn", "randn_like", "normal")), self._draws)
        tensor = torch.Tensor
        self._picks = {tensor.__getitem__, tensor.gather, torch.gather, torch.index_select, tensor.index_select}
        self.calls.on_every(self, self._picked)
        self.networks.on_ended(self, self._told)

    def begin(self) -> None:
        """A new iteration."""
        self.now = Ingredients()

    def since(self, serial: int) -> Ingredients:
        """What there was from some number on."""
        now = self.now
        return Ingredients(
            [one for one in now.draws if one.serial >= serial],
            [one for one in now.picked if one.serial >= serial],
            {name: one for name, one in now.told.items() if one.serial >= serial},
        )

    def _next(self) -> int:
        self.serial += 1
        return self.serial - 1

    def _draws(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        torch = self.watch.torch
        like = args[0] if name == "randn_like" and args and isinstance(args[0], torch.Tensor) else None

        def drawn(out: Any) -> None:
            if not is_image(torch, out):
                return
            if len(self.now.draws) >= MOST_DRAWS:
                del self.now.draws[:-8]
            same = like is not None and is_image(torch, like)
            self.now.draws.append(Draw(tuple(out.shape), rows(out), rows(like) if same else None, self._next()))

        return drawn

    def _picked(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if function not in self._picks or not args:
            return
        table = args[0]
        dimensions = getattr(table, "ndim", 0)
        if dimensions != 1 or not 8 <= table.numel() <= MOST_ENTRIES or not self.watch.here_and_now:
            return
        with self.watch.ours(self):
            gather = getattr(function, "__name__", "") != "__getitem__"
            index = self._index(argument(args, kwargs, 2 if gather else 1, "index"))
            if index is not None and table.is_floating_point() and has_values(table):
                number = self._number(table)
                if len(self.now.picked) >= MOST_PICKS:
                    del self.now.picked[:-32]
                if number >= 0:
                    self.now.picked.append(Pick(number, index, self._next()))

    def _index(self, index: Any) -> tuple[int, ...] | None:
        torch = self.watch.torch
        if isinstance(index, tuple) and index:
            index = index[0]
        if isinstance(index, int) and not isinstance(index, bool):
            return (index,)
        if not isinstance(index, torch.Tensor) or index.is_floating_point() or index.dtype == torch.bool:
            return None
        if not has_values(index) or not 1 <= index.numel() <= MOST_NUMBERS:
            return None
        return tuple(int(one) for one in index.detach().reshape(-1).tolist())

    def _number(self, table: Any) -> int:
        key = (table.data_ptr(), table.numel(), str(table.dtype))
        known = self._numbers.get(key)
        values = tuple(float(one) for one in table.detach().double().cpu().tolist())
        if known is not None and self.tables[known].values == values:
            return known
        for number, other in enumerate(self.tables):
            if other.values == values:
                self._numbers[key] = number
                return number
        if len(self.tables) >= MOST_TABLES:
            return -1
        self._numbers[key] = len(self.tables)
        self.tables.append(Table(self._name_of(table), values))
        return len(self.tables) - 1

    def _name_of(self, table: Any) -> str:
        """The name of a buffer of any module that was made; names of variables could not be read without a trace."""
        for module in list(self.networks.made):
            for name, value in module._buffers.items():
                if value is table:
                    return str(name)
        return ""

    def _told(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if len(args) != 1 or kwargs or len(self.now.told) >= 32:
            return
        values = numbers(self.watch.torch, args[0])
        if values is not None and len(values.values) <= MOST_NUMBERS:
            made = self.networks.made.get(module)
            place = f" of {made.file}:{made.line}" if made is not None else ""
            self.now.told[f"{type(module).__name__}{place}"] = values._replace(serial=self._next())


def by_name(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    """Arguments of a call by the name of the parameter, as far as it can be told."""
    names = parameter_names(module)
    named = [(names[i] if i < len(names) else f"argument {i + 1}", one) for i, one in enumerate(args)]
    return [*named, *kwargs.items()]


def is_image(torch: Any, value: Any) -> bool:
    """True for a batch of real numbers of some size, whose values can be read."""
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.dim() >= 2
        and value.numel() >= 32
        and bool(has_values(value))
        and value.layout is torch.strided
    )


def rows(value: Any) -> Array:
    """A sample of a batch, shape ``(rows, values)``; the same places for every tensor of one shape."""
    flat = value.detach().reshape(len(value), -1)
    width = flat.shape[1]
    count = max(ROWS, VALUES // max(1, width))
    stride = max(1, width // VALUES) | 1
    found: Array = flat[:count, ::stride][:, :VALUES].double().cpu().numpy().copy()
    return found


def numbers(torch: Any, value: Any) -> Told | None:
    """A number, or a vector with one number a sample, and its type; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return Told((float(value),), type(value).__name__)
    if not isinstance(value, torch.Tensor) or value.dim() > 2 or not 1 <= value.numel() <= MOST_NUMBERS:
        return None
    if (value.dim() and value.shape[0] != value.numel()) or value.dtype == torch.bool or value.is_complex():
        return None
    if not has_values(value) or value.is_quantized or value.layout is not torch.strided:
        return None
    values = value.detach().reshape(-1).double().cpu().tolist()
    return Told(tuple(values), str(value.dtype).removeprefix("torch."))
