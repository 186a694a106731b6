"""C1104 resume-not-continuous."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import CheckpointRead
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "C1104",
    "resume-not-continuous",
    Severity.MAJOR,
    needs=(CheckpointRead,),
    looked_at=requires(
        CheckpointRead,
        lambda file, limits: file.optimizer_state and file.tensors > 0 and file.compared != "a call",
        thing="resumed trainings",
    ),
    jump=Threshold(1.5, "learning rate after over before; schedules change less than this between two steps"),
    arrived=Threshold(0.5, "share of the file's tensors that are in a network, or it is not a resumption"),
)
def resume_not_continuous(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A run is resumed from a checkpoint, but not where it stopped.

    What it finds:
        A checkpoint that holds the state of optimiser or schedule and whose weights are taken up, while that state is
        left behind, so that the learning rate jumps.
    Why it stops learning:
        The moments of Adam start from zero with a full learning rate, and a schedule begins again: the loss jumps up
        and the trained weights are shaken.
    Evidence it needs:
        CheckpointRead (a watched script).
    How it decides:
        Most tensors of the file are in a network at the first step, in layers that an optimiser has. If the learning
        rate of that step differs from the saved one by more than `jump`, and some of the saved state was taken up (so
        it is a resumption and not a new training), it is `demonstrated`; if the file holds an epoch counter and nothing
        of the state was taken up,
        `suspected`.
    Remedy:
        Restore optimiser, schedule, scaler, epoch and random state; build the schedule before restoring it.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A new training that starts from a checkpoint's weights on purpose.
    References:
        PyTorch, "Saving and loading a general checkpoint" (recipe).
    """
    for file in evidence.of(CheckpointRead):
        if not file.optimizer_state or not file.tensors or file.arrived < limits.arrived * file.tensors:
            continue
        if 0 <= file.trained < limits.arrived * file.tensors:  # a teacher, a frozen encoder: nobody goes on with it
            continue
        if file.compared == "a call":  # no backward pass came: a script that infers resumes nothing
            continue
        known = file.saved_lr > 0 and file.resumed_lr > 0
        factor = max(file.resumed_lr / file.saved_lr, file.saved_lr / file.resumed_lr) if known else 1.0
        jumps = factor > limits.jump
        left = [
            name
            for name, held, restored in (
                ("optimiser", file.optimizer_state, file.optimizer_restored),
                ("schedule", file.scheduler_state, file.scheduler_restored),
            )
            if held and not restored
        ]
        resumes = file.optimizer_restored or file.scheduler_restored
        if not (jumps and (resumes or file.epoch >= 0)) and not (left and file.epoch >= 0):
            continue
        rates = f"the learning rate goes from {file.saved_lr:g} to {file.resumed_lr:g}"
        if left:
            behind = f"the state of its {' and '.join(left)} is left behind" + (f"; {rates}" if jumps else "")
        else:
            behind = f"{rates}, although its state is taken up"
        yield Found(
            message=f"Training is resumed from {file.file}, but {behind}.",
            standing=Standing.DEMONSTRATED if jumps and resumes else Standing.SUSPECTED,
            location=file.where,
            numbers={"saved_lr": file.saved_lr, "resumed_lr": file.resumed_lr, "epoch": file.epoch},
            remedy="Restore optimiser and schedule after constructing them, and go on at the saved epoch.",
        )
