"""One training of a case: deterministic, and paired step by step with every other arm of the trial.

Weights, data order and the draws of every step come from random streams of their own (see
:mod:`traindx.core.randomness`), and the global random state is left as it was found.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from traindx.core.batches import to_device
from traindx.core.frames import raised_at
from traindx.core.randomness import RandomState, Stream, preserved, seed_everything, seed_of
from traindx.errors import CaseError, TraindxError
from traindx.preflight import first_nonfinite
from traindx.trials.clock import Deadline, OutOfTime

if TYPE_CHECKING:
    from torch import nn

    from traindx.case import Case


@dataclass(frozen=True)
class Divergence:
    """A loss that stopped being a number.

    Attributes:
        step: Optimiser step at which it happened.
        module: First module whose output was not finite, and where it is defined; empty where none was seen.
    """

    step: int
    module: str = ""

    def __str__(self) -> str:
        return f"the loss is not a number at step {self.step}" + (f", first in {self.module}" if self.module else "")


@dataclass
class Trained:
    """A model after a trial training.

    Attributes:
        model: The model, in training mode, on the case's device.
        losses: Total loss of every step.
        seconds: Wall time.
        seed: The seed it was trained from.
        steps: Optimiser steps made.
        weights: SHA-256 of all parameters and buffers.
        diverged: Where the loss stopped being a number; the weights are then those before that step.
        first_gradient: SHA-256 of the gradients of the first step.
        threads: Torch threads it was trained with; sums in another order are not bit-identical.
    """

    model: nn.Module
    losses: tuple[float, ...]
    seconds: float
    seed: int
    steps: int
    weights: str
    diverged: Divergence | None = None
    first_gradient: str = ""
    threads: int = 1


def default_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW with learning rate 1e-3, where the case names none."""
    return torch.optim.AdamW(parameters, lr=1e-3)


def train(
    case: Case,
    seed: int,
    steps: int | None = None,
    on_step: Callable[[int, float], None] | None = None,
    deadline: Deadline | None = None,
    *,
    keep_partial: bool = False,
) -> Trained:
    """Train a fresh model of a case.

    Args:
        case: What to train.
        seed: Everything random follows from it.
        steps: Optimiser steps; the case's own by default.
        on_step: Called after every step with the number of steps made and the loss.
        deadline: When to stop; shared by all work of a trial.
        keep_partial: Return the model as it is when the deadline passes, with fewer steps, instead of raising.

    Raises:
        CaseError: The user's code raised, there was no batch, or the loss is no scalar; with file and line.
        OutOfTime: The deadline passed.
    """
    limit = deadline or Deadline()
    count = case.steps if steps is None else steps
    begun = time.perf_counter()
    with preserved(), own_generators(case.train), case.open():
        seed_everything(seed_of("weights", seed))
        model = attempt("building the model", lambda: case.model().to(case.device))
        model.train()
        make = case.optimizer or default_optimizer
        optimizer = attempt("making the optimiser", lambda: make(model.parameters()))
        batches = endless(case, Stream("data", seed))
        losses: list[float] = []
        first_gradient, diverged = "", None
        for step in range(count):
            if keep_partial and limit.left <= 0:
                break
            limit.check()
            batch = next(batches)
            # every step draws from its own seed: an arm that draws more in one step is paired again in the next
            seed_everything(seed_of("step", seed, step))
            before_draws = RandomState.now() if step == 0 else None
            loss = attempt(f"computing the loss of step {step}", partial(total_loss, case, model, batch))
            value = float(loss.detach())
            if not math.isfinite(value):
                diverged = Divergence(step, _culprit(case, model, batch, seed_of("step", seed, step)))
                break
            optimizer.zero_grad(set_to_none=True)
            attempt(f"the backward pass of step {step}", loss.backward)
            if before_draws is not None:
                first_gradient = digest(p.grad for p in model.parameters() if p.grad is not None)
            attempt(f"optimiser step {step}", optimizer.step)
            losses.append(value)
            if on_step is not None:
                on_step(step + 1, value)
        weights = digest(model.state_dict().values())
    return Trained(
        model=model,
        losses=tuple(losses),
        seconds=time.perf_counter() - begun,
        seed=seed,
        steps=len(losses),
        weights=weights,
        diverged=diverged,
        first_gradient=first_gradient,
        threads=torch.get_num_threads(),
    )


def total_loss(case: Case, model: nn.Module, batch: Any) -> torch.Tensor:
    """The sum of the loss terms.

    Raises:
        CaseError: It is no scalar, or does not depend on the weights.
    """
    terms = case.loss_terms(model, batch)
    total = sum((value for value in terms.values()), torch.zeros((), device=case.device))
    if not isinstance(total, torch.Tensor) or total.numel() != 1:
        shape = tuple(total.shape) if isinstance(total, torch.Tensor) else type(total).__name__
        raise CaseError(f"the loss is {shape}", expected="one number, as a tensor")
    total = total.reshape(())
    if not total.requires_grad:
        raise CaseError(
            "the loss does not depend on the weights of the model",
            expected="a loss with a gradient",
            do="look for detach, .data, .item or torch.no_grad between the model and the loss",
        )
    return total


def endless(case: Case, stream: Stream) -> Iterator[Any]:
    """Training batches on the case's device, pass after pass, drawn from a random stream of their own.

    Raises:
        CaseError: The loader is empty, ends for good after one pass, or raises.
    """
    iterator: Iterator[Any] | None = None
    seen = 0
    while True:
        with stream.resumed():
            fresh = iterator is None
            if iterator is None:
                iterator = attempt("reading the training batches", partial(case.batches, "train"))
            batch = attempt("reading a training batch", partial(next, iterator, _END))
        if batch is _END:
            if fresh:
                found = f"ended after {seen} batches and cannot be read again" if seen else "ended before the first one"
                raise CaseError(
                    f"the train batches of case {case.name!r} {found}",
                    expected="batches that can be read pass after pass",
                    do="pass a list, a DataLoader or a function that returns a fresh iterator",
                )
            iterator = None
            continue
        seen += 1
        yield to_device(batch, case.device)


_END = object()


@contextmanager
def own_generators(batches: Any) -> Iterator[None]:
    """Put the generators that a loader owns back afterwards, so that every arm reads the same order."""
    holders = [batches, getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)]
    holders.append(getattr(holders[-1], "sampler", None))
    found = [getattr(holder, "generator", None) for holder in holders]
    states = [(one, one.get_state()) for one in found if isinstance(one, torch.Generator)]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


def attempt(doing: str, action: Callable[[], Any]) -> Any:
    """Run a piece of the user's case; what it raises becomes a :class:`CaseError` with their file and line."""
    try:
        return action()
    except (TraindxError, OutOfTime):
        raise
    except Exception as error:
        raise CaseError(
            f"{doing} raised {type(error).__name__}: {error}", expected="it runs", where=str(raised_at(error) or "")
        ) from error


def _culprit(case: Case, model: nn.Module, batch: Any, seed: int) -> str:
    """The first module whose output is not finite when the fatal step is repeated."""
    seed_everything(seed)
    with torch.no_grad(), first_nonfinite(model) as culprit:
        try:
            case.loss_terms(model, batch)
        except Exception:
            return ""
    inside = culprit()
    return "" if inside is None else f"{inside[0]} at {inside[1]}" if inside[1] else inside[0]


def digest(tensors: Iterable[Any]) -> str:
    """SHA-256 over the bytes, shapes and types of tensors; values that are no tensors count by their ``repr``."""
    sha = hashlib.sha256()
    for value in tensors:
        if not isinstance(value, torch.Tensor):
            sha.update(repr(value).encode())
            continue
        flat = value.detach().to("cpu").contiguous()
        sha.update(f"{flat.dtype}{tuple(flat.shape)}".encode())
        sha.update(flat.reshape(-1).view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return sha.hexdigest()
