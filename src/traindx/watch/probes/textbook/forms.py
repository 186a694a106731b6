"""Forms of arguments and results beside arrays: lists of numbers, masks, images, and what a function draws."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor, like, words
from traindx.watch.probes.textbook.base import Trial

DRAWS = {
    "random", "rand", "randn", "randint", "randrange", "uniform", "normal", "choice", "rand_like", "randn_like",
    "shuffle", "randperm", "bernoulli", "rng", "default_rng", "sample", "integers", "uniform_", "normal_",
}  # fmt: skip
SURE = 20.0  # a logit


def numbers_in(trial: Trial, value: Any) -> Any | None:
    """A tensor of an array, or of a list (of lists) of numbers or of arrays of one shape; None for anything else."""
    torch = trial.torch
    known = as_tensor(torch, value)
    if known is not None:
        return known
    if type(value) not in (list, tuple) or not value or len(value) > 4096:
        return None
    inner = [_one(torch, one) for one in value]
    if any(one is None for one in inner):
        return None
    if len({tuple(one.shape) for one in inner if one is not None}) != 1:
        return None
    return torch.stack([one.double() for one in inner if one is not None])


def _one(torch: Any, value: Any) -> Any | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return torch.tensor(float(value))
    if type(value) in (list, tuple):
        inner = [_one(torch, one) for one in value]
        if not inner or any(one is None or one.dim() for one in inner):
            return None
        return torch.stack([one.double() for one in inner if one is not None])
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(value, "item"):
        return torch.tensor(float(value.item()))
    return as_tensor(torch, value)


def in_form(trial: Trial, tensor: Any, given: Any) -> Any:
    """A tensor in the form of an argument: an array, a list of numbers, a list of lists, a list of arrays."""
    if as_tensor(trial.torch, given) is not None:
        return like(trial.torch, tensor, given)
    if type(given) not in (list, tuple):
        return tensor
    whole = isinstance(given[0], int) and all(isinstance(one, int) for one in given)

    def item(value: Any, example: Any) -> Any:
        if value.dim():
            return in_form(trial, value, example)
        return round(float(value)) if whole else float(value)

    return type(given)(item(one, given[min(at, len(given) - 1)]) for at, one in enumerate(tensor))


def arguments(trial: Trial) -> dict[str, Any]:
    """Arguments that hold several numbers each, arrays and lists alike, as tensors."""
    known = {name: numbers_in(trial, value) for name, value in trial.call.args.items() if name not in ("self", "cls")}
    return {name: one for name, one in known.items() if one is not None and one.numel() > 1}


def again(trial: Trial, **changes: Any) -> Any:
    """What comes of a call whose changes are tensors in the place of arrays or lists, as the function gave it."""
    given = {
        name: in_form(trial, value, trial.call.args[name]) if isinstance(value, trial.torch.Tensor) else value
        for name, value in changes.items()
    }
    return trial.call.again(trial.torch, **given)


def result(trial: Trial, **changes: Any) -> Any:
    """The same, as one tensor; see :func:`first_array`."""
    return first_array(trial, again(trial, **changes))


def first_array(trial: Trial, made: Any) -> Any:
    """One tensor of a result.

    Of a tuple of arrays, or of an array and other things, it is the first; a tuple of numbers is one tensor.

    Raises:
        NotApplicableError: There is none.
    """
    if isinstance(made, int | float) and not isinstance(made, bool):
        return trial.torch.tensor(float(made))
    if type(made).__module__ == "numpy" and getattr(made, "shape", None) == () and hasattr(made, "item"):
        return trial.torch.tensor(float(made.item()))
    first = as_tensor(trial.torch, made[0]) if isinstance(made, tuple) and made else None
    found = first if first is not None and first.dim() else numbers_in(trial, made)
    if found is None and isinstance(made, tuple) and made:
        found = _one(trial.torch, made[0])
    trial.require(found is not None)
    return found


def draws(trial: Trial) -> bool:
    """True if the function reads a name that stands for random numbers."""
    code = trial.call.code
    return bool(DRAWS & {*code.co_names, *code.co_freevars})


def named_words(trial: Trial) -> set[str]:
    """Single words of the function's name, and of the method's where a class gives the name."""
    return {*words(trial.call.name), *words(trial.call.code.co_name)}


def learns(trial: Trial) -> bool:
    """True if the function belongs to a network with parameters that learn."""
    owner = trial.call.args.get("self")
    if not isinstance(owner, trial.torch.nn.Module):
        return False
    return any(one.requires_grad for one in owner.parameters())


def mask_like(trial: Trial, mask: Any, recorded: Any) -> Any:
    """A mask of zeros and ones with the two values that the script's has: 0 and 1, 0 and 255, or logits.

    Raises:
        NotApplicableError: Its values are labels of several kinds, or it is empty.
    """
    numbers = recorded.double()
    low, high = float(numbers.min()), float(numbers.max())
    if low < 0:
        trial.require(recorded.dtype.is_floating_point)
        return mask.double() * 2 * SURE - SURE
    trial.require(high > 0 and (high <= 1 or high == 255))
    return mask.double() * (255.0 if high == 255 else 1.0)


def spatial_axes(trial: Trial, tensor: Any, least: int) -> list[int]:
    """The axes of one image or volume: all but leading ones (or a last one) of length 1.

    Raises:
        NotApplicableError: Others than two or three are left, or one is shorter than ``least``.
    """
    axes = [axis for axis in range(tensor.dim()) if tensor.shape[axis] > 1]
    trial.require(len(axes) in (2, 3) and all(tensor.shape[axis] >= least for axis in axes))
    return axes


def ramp(trial: Trial, shape: Any, axis: int) -> Any:
    """Numbers that count the places along one axis."""
    axis %= len(shape)
    one = trial.torch.arange(float(shape[axis])).reshape([-1 if at == axis else 1 for at in range(len(shape))])
    return one.expand(*shape).clone()


def inside(tensor: Any, axes: Any, share: float = 0.25) -> Any:
    """The middle of a tensor along some axes, without this share at both ends (at least one entry is left)."""
    for axis in axes:
        size = tensor.shape[axis]
        cut = min(int(size * share), (size - 1) // 2)
        tensor = tensor.narrow(axis, cut, size - 2 * cut)
    return tensor
