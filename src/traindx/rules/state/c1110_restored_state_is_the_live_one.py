"""C1110 restored-state-is-the-live-one."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import StateReused
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, requires, rule


@rule(
    "C1110",
    "restored-state-is-the-live-one",
    Severity.MAJOR,
    needs=(StateReused,),
    thing="states that were taken from a network and loaded again",
    looked_at=requires(StateReused, thing="states that were taken from a network and loaded again"),
)
def restored_state_is_the_live_one(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A state that is kept to be loaded later is the network's own memory, so loading it restores nothing.

    What it finds:
        `best = model.state_dict()` at the best epoch and `model.load_state_dict(best)` at the end, without a copy in
        between; the same with a shallow copy, with the first weights that every fold is to begin from, or with the
        weights that are put aside while an average of them is evaluated.
    Why it stops learning:
        `state_dict()` hands out references. Training goes on writing to them, so the "best" weights are always the
        last ones: the best epoch is lost, a reset resets nothing, and everything measured afterwards is measured on
        other weights than it says.
    Evidence it needs:
        StateReused (a watched script).
    How it decides:
        Tensors given to `load_state_dict()` are known again, by weak references, as those of an earlier `state_dict()`.
        If every parameter that is offered lies in the memory of the parameter it is loaded into, and values sampled
        when it was taken are others now: `demonstrated`, at the line that took it. A state that still holds what it
        held, one of another network, and a mapping that brings anything else with it stay silent.
    Remedy:
        `copy.deepcopy(model.state_dict())`, or write it to a file.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        None known. `{k: v.cpu() for k, v in model.state_dict().items()}` copies on a GPU and does not on a CPU: the
        finding holds for the device of this run.
    References:
        PyTorch documentation of `Module.state_dict` ("the returned object is a shallow copy"), and its tutorial on
        saving and loading models, which warns of `best_model_state = model.state_dict()`.
    """
    for record in evidence.of(StateReused):
        if not record.changed or not record.parameters or record.shared < record.parameters:
            continue
        loaded = f" at {record.where}" if record.where is not None else ""
        yield Found(
            message=f"The state of {record.network} that is kept here is a reference, not a copy. When it is "
            f"loaded{loaded}, {record.steps} optimiser steps later, all {record.shared} of its parameters are the "
            "network's present ones: loading it restores nothing.",
            standing=Standing.DEMONSTRATED,
            location=record.taken or record.where,
            numbers={
                "shared": record.shared,
                "parameters": record.parameters,
                "steps": record.steps,
                "loads": record.loads,
            },
            remedy="Keep a copy.\n```before\nbest = model.state_dict()\n```\n"
            "```after\nbest = copy.deepcopy(model.state_dict())\n```",
        )
