"""The control of a trial: the case as it is, trained once, so that checks and trials can share it."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from traindx.core.randomness import preserved, seed_everything, seed_of
from traindx.machine import usable_cores
from traindx.progress import Listener, Progress, silent
from traindx.trials.clock import Deadline
from traindx.trials.resume_log import fingerprint
from traindx.trials.scoring_metric import Units
from traindx.trials.training import Trained, digest, train

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.trials.reference import CaseReference

FILE = "control.pt"


def worker_count(reference: CaseReference | None, workers: int | None, device: str = "cpu") -> int:
    """Worker processes of a trial: as many as there are cores, and none (1, in process) without a reference.

    A case on an accelerator runs in process: workers would only share the one device.
    """
    if reference is None or not device.startswith("cpu"):
        return 1
    return max(1, workers if workers is not None else usable_cores())


def trial_threads(workers: int) -> int:
    """Torch threads of every training of a trial; equal in all of them, or sums would differ in their last bit."""
    return 1 if workers > 1 else torch.get_num_threads()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run a block with a number of torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_control(
    case: Case,
    seed: int = 0,
    *,
    steps: int | None = None,
    deadline: float | None = None,
    directory: Path | None = None,
    progress: Listener | None = None,
    reference: CaseReference | None = None,
    workers: int | None = None,
) -> Trained:
    """Train the case as it is, in the way in which the trials will train it, so that they can use the model again.

    Args:
        case: The case.
        seed: First seed of the trials.
        steps: Optimiser steps; the case's own by default.
        deadline: Value of ``time.monotonic()`` at which to stop; the model is then returned as it is, with fewer steps.
        directory: Where ``control.pt`` is kept; a control that was trained there before is read back.
        progress: Called while training.
        reference: As for :func:`~traindx.trials.runner.run_trials`.
        workers: As for :func:`~traindx.trials.runner.run_trials`.

    Raises:
        CaseError: The user's code raised, with file and line.
    """
    listen = progress or silent
    count = case.steps if steps is None else steps
    own = trial_threads(worker_count(reference, workers, case.device))
    with threads(own):
        known = _load(case, seed, count, directory, own)
        if known is not None:
            listen(Progress("training", "control read back", count, count, 0.0))
            return known
        begun = time.monotonic()

        def report(step: int, _: float) -> None:
            left = (time.monotonic() - begun) / step * (count - step)
            listen(Progress("training", f"training the case as it is, step {step} of {count}", step, count, left))

        limit = Deadline() if deadline is None else Deadline.after(deadline - time.monotonic())
        trained = train(case, seed, count, report, limit, keep_partial=True)
    if directory is not None and trained.steps == count:
        _save(case, trained, count, directory, own)
    return trained


def _save(case: Case, trained: Trained, steps: int, directory: Path, own_threads: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        "fingerprint": fingerprint(case, steps, Units.NETWORK, own_threads),
        "state": trained.model.state_dict(),
        "losses": torch.tensor(trained.losses, dtype=torch.float64),
        "seed": trained.seed,
        "seconds": trained.seconds,
        "weights": trained.weights,
        "first_gradient": trained.first_gradient,
    }
    part = directory / f"{FILE}.part"
    torch.save(content, part)
    part.replace(directory / FILE)  # a crash leaves the old file or the new one, never half of one


def _load(case: Case, seed: int, steps: int, directory: Path | None, own_threads: int) -> Trained | None:
    if directory is None or not (directory / FILE).exists():
        return None
    content: dict[str, Any] = {}
    with suppress(OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):  # unreadable: trained anew
        content = torch.load(directory / FILE, map_location=case.device, weights_only=True)
    if content.get("seed") != seed or content.get("fingerprint") != fingerprint(
        case, steps, Units.NETWORK, own_threads
    ):
        return None
    with preserved(), case.open():
        seed_everything(seed_of("weights", seed))
        model = case.model().to(case.device)
        model.load_state_dict(content["state"])
        model.train()
    if digest(model.state_dict().values()) != content["weights"]:
        return None
    losses = tuple(content["losses"].tolist())
    return Trained(
        model=model,
        losses=losses,
        seconds=content["seconds"],
        seed=seed,
        steps=len(losses),
        weights=content["weights"],
        first_gradient=content["first_gradient"],
        threads=own_threads,
    )
