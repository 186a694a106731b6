"""Watch the operations of a loss for two things that leave no trace in its value: a swallowed error, a mask off centre.

Nothing is changed and nothing is drawn from the random state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from traindx.checks.base import CheckContext, check
from traindx.checks.probing import modest_batch
from traindx.core.frames import user_location
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence.loss import FourierMask, SwallowedInLoss

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.finding import Location

LOSSES = 3
LONGEST = 120  # characters of an error that are kept
TRANSFORMS: Mapping[str, int] = {
    "fft_fft": 1, "fft_rfft": 1, "fft_fft2": 2, "fft_rfft2": 2, "fft_fftn": 0, "fft_rfftn": 0,
}  # fmt: skip
SHIFTS = frozenset({"fft_fftshift", "fft_ifftshift"})
PASSING = frozenset(
    {
        "abs", "absolute", "real", "imag", "angle", "square", "pow", "__pow__", "sqrt", "log", "log1p", "__get__",
        "add", "__add__", "__radd__", "sub", "__sub__", "__rsub__", "div", "__truediv__", "mul", "__mul__", "__rmul__",
        "to", "float", "double", "clone", "contiguous", "neg",
    }
)  # fmt: skip
MASKING = frozenset({"mul", "__mul__", "__rmul__", "where", "masked_fill", "__getitem__", "masked_select"})
MOST_COEFFICIENTS = 2**21  # a larger mask is left alone


@check(
    "loss-operations",
    "does the loss swallow errors or lay masks over the wrong frequencies",
    needs=("loss",),
    gives=(FourierMask, SwallowedInLoss),
)
def loss_operations(ctx: CheckContext) -> None:
    """Compute a few losses of a fresh model in training mode under :class:`OperationWatch`."""
    model = ctx.fresh_model()
    watches: list[OperationWatch] = []
    values: dict[str, list[float]] = {}
    connected: set[str] = set()
    kept = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    for number in range(LOSSES):
        watch = OperationWatch()
        with undisturbed(ctx.seed + number), in_mode(model, training=True), torch.enable_grad(), watch:
            terms = ctx.case.loss_terms(model, modest_batch(ctx, number))
        watches.append(watch)
        for name, value in terms.items():
            values.setdefault(name, []).append(float(value.detach()))
            if value.requires_grad:
                connected.add(name)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name in kept and kept[name].shape == buffer.shape:
                buffer.copy_(kept[name])
    constant = tuple(name for name, seen in values.items() if name not in connected and len(set(seen)) == 1)
    for record in _swallowed(watches, constant):
        ctx.record(record)
    for mask in {(str(mask.where), mask.shape): mask for watch in watches for mask in watch.masks}.values():
        ctx.record(mask)


def _swallowed(watches: Iterable[OperationWatch], constant: tuple[str, ...]) -> list[SwallowedInLoss]:
    """One record a line and error; the loss was returned every time, or nobody would be here."""
    seen: dict[tuple[str, str], list[Raised]] = {}
    losses = 0
    for watch in watches:
        losses += 1
        for key, raised in {(str(item.where), item.error): item for item in watch.raised}.items():
            seen.setdefault(key, []).append(raised)
    return [
        SwallowedInLoss(
            where=items[0].where,
            function=items[0].function,
            error=items[0].error,
            losses=losses,
            raised=len(items),
            constant_terms=constant,
        )
        for items in seen.values()
    ]


@dataclass(frozen=True)
class Raised:
    """An operation that raised, and the user's line."""

    function: str
    error: str
    where: Location | None


@dataclass
class _Spectrum:
    """Along which axes a tensor holds Fourier coefficients, and along which of them zero was moved to the middle."""

    axes: tuple[int, ...]
    shifted: frozenset[int] = field(default_factory=frozenset)


class OperationWatch(TorchFunctionMode):
    """Sees every torch operation. Afterwards: :attr:`raised` and :attr:`masks`."""

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[Raised] = []
        self.masks: list[FourierMask] = []
        self._spectra: dict[int, _Spectrum] = {}
        self._alive: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        try:
            result = func(*args, **kwargs)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            self.raised.append(Raised(name.strip("_"), text[:LONGEST], user_location()))
            raise
        if isinstance(result, torch.Tensor) and (name in TRANSFORMS or self._spectra):
            self._follow(name, args, kwargs, result)
        return result

    def _follow(self, name: str, args: Any, kwargs: Any, result: Tensor) -> None:
        made: _Spectrum | None = None
        if name in TRANSFORMS:
            made = _Spectrum(_axes(name, args, kwargs, result.ndim))
        else:
            inputs = _all(args, kwargs)
            known = [(tensor, self._spectra[id(tensor)]) for tensor in inputs if id(tensor) in self._spectra]
            if not known:
                return
            tensor, spectrum = known[0]
            if name in SHIFTS:
                axes = _dims(kwargs.get("dim", args[1] if len(args) > 1 else None), tensor.ndim)
                made = _Spectrum(spectrum.axes, spectrum.shifted ^ frozenset(axes))
            else:
                if name in MASKING and len(known) == 1:
                    others = [other for other in _all(args, kwargs) if other is not tensor]
                    self._mask(tensor, spectrum, others)
                if name in PASSING and result.shape == tensor.shape:
                    made = spectrum
        if made is not None:
            self._spectra[id(result)] = made
            self._alive.append(result)

    def _mask(self, tensor: Tensor, spectrum: _Spectrum, others: list[Tensor]) -> None:
        for other in others:
            mask = over(other, tensor, spectrum.axes)
            if mask is None or other.requires_grad:
                continue
            zero, centre = round_about(mask)
            if math.isfinite(zero) and math.isfinite(centre):
                shifted = spectrum.shifted >= set(spectrum.axes)
                where = user_location()
                self.masks.append(
                    FourierMask(
                        where=where, shape=tuple(mask.shape), shifted=shifted, about_zero=zero, about_centre=centre
                    )
                )


def _all(args: Any, kwargs: Any) -> list[Tensor]:
    """Tensors among arguments, those inside an index too, of any type."""
    found: list[Tensor] = []
    for value in (*args, *kwargs.values()):
        items = value if isinstance(value, tuple | list) else (value,)
        found += [item for item in items if isinstance(item, torch.Tensor)]
    return found


def _axes(name: str, args: Any, kwargs: Any, ndim: int) -> tuple[int, ...]:
    given = kwargs.get("dim", args[2] if len(args) > 2 else None)
    if given is None:
        count = TRANSFORMS[name] or ndim
        return tuple(range(ndim - count, ndim))
    return _dims(given, ndim)


def _dims(given: Any, ndim: int) -> tuple[int, ...]:
    if given is None:
        return tuple(range(ndim))
    dims = (given,) if isinstance(given, int) else tuple(given)
    return tuple(sorted(int(dim) % ndim for dim in dims))


def over(mask: Tensor, tensor: Tensor, axes: tuple[int, ...]) -> Tensor | None:
    """A mask along the transformed axes only, where it is real, has them all, and does not vary along others."""
    if mask.is_complex() or mask.ndim > tensor.ndim or mask.numel() > MOST_COEFFICIENTS:
        return None
    full = mask.detach().reshape((1,) * (tensor.ndim - mask.ndim) + tuple(mask.shape))
    if any(full.shape[axis] != tensor.shape[axis] for axis in axes):
        return None
    others = [axis for axis in range(tensor.ndim) if axis not in axes]
    flat = full.permute(*others, *axes).reshape(-1, *(full.shape[axis] for axis in axes)).double()
    if not torch.equal(flat, flat[:1].expand_as(flat)):
        return None
    sides = [size for size in flat.shape[1:] if size > 2]
    return flat[0] if len(sides) >= 2 and float(flat[0].var()) > 0 else None


def round_about(mask: Tensor) -> tuple[float, float]:
    """Share of a mask's variance that rises or falls with the distance from index 0, and from the middle.

    At index 0 lies frequency zero of a transform, in the middle that of a shifted one. Distances are Euclidean or the
    largest along an axis, whichever explains more.
    """
    ends = []
    for centred in (False, True):
        distances = []
        for size in mask.shape:
            index = torch.arange(size, dtype=torch.float64)
            if centred:
                distances.append((index - size // 2).abs())
            else:
                half = size != max(mask.shape) and size == max(mask.shape) // 2 + 1  # the last axis of a real transform
                distances.append(index if half else torch.minimum(index, size - index))
        grids = torch.meshgrid(*distances, indexing="ij")
        euclidean = torch.stack([grid.square() for grid in grids]).sum(dim=0)
        largest = torch.stack(grids).amax(dim=0)
        ends.append(max(_explained(mask, euclidean), _explained(mask, largest)))
    return ends[0], ends[1]


def _explained(mask: Tensor, distance: Tensor) -> float:
    """Share of variance explained by the best monotone function of the distance (isotonic regression)."""
    values, group = torch.unique(distance, return_inverse=True)
    flat, index = mask.flatten(), group.flatten()
    counts = torch.bincount(index, minlength=len(values)).double()
    means = torch.zeros(len(values), dtype=torch.float64).index_add_(0, index, flat) / counts
    left = min(
        float((flat - fitted[index]).square().mean()) for fitted in (isotonic(means, counts), -isotonic(-means, counts))
    )
    return 1 - left / float(flat.var(unbiased=False))


def isotonic(values: Tensor, weights: Tensor) -> Tensor:
    """The non-decreasing sequence nearest to some values (pool adjacent violators, Barlow et al. 1972)."""
    blocks: list[list[float]] = []  # mean, weight, count
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, total, count = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + mean * total) / (last[1] + total)
            last[1] += total
            last[2] += count
    return torch.tensor([mean for mean, _, count in blocks for _ in range(int(count))], dtype=torch.float64)
