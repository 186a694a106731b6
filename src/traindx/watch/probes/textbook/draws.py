"""Calls that draw random numbers: with other numbers than the usual ones, and in training mode."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor, like
from traindx.watch.probes.making import seed as seeded
from traindx.watch.probes.recorded import arguments_for, copied
from traindx.watch.probes.textbook.base import Trial


def drawn(trial: Trial, seed: int, training: bool = False, **changes: Any) -> Any:
    """The call once more, as :meth:`Trial.again` makes it, with random numbers of this seed.

    Args:
        trial: The trial.
        seed: Of the random numbers.
        training: A network that the function belongs to is in training mode; in evaluation mode otherwise.
        **changes: Arguments.
    """
    torch = trial.torch
    call = trial.call
    values = {name: copied(torch, value) for name, value in call.args.items()}
    for name, value in changes.items():
        known = isinstance(value, torch.Tensor) and as_tensor(torch, call.args.get(name)) is not None
        values[name] = like(torch, value, call.args[name]) if known else value
    owner = next(iter(values.values()), None)
    if isinstance(owner, torch.nn.Module):
        owner.train(training)
    positional, named = arguments_for(call.function, values)
    seeded(torch, seed)
    return call.function(*positional, **named)
