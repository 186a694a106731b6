"""C1108 loaded-tensors-coverage."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import CheckpointRead, WeightsLoaded
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "C1108",
    "loaded-tensors-coverage",
    Severity.CRITICAL,
    needs=(CheckpointRead,),
    looked_at=requires(
        CheckpointRead,
        lambda file, limits: file.tensors >= limits.tensors and file.step == 0,
        otherwise="no file with weights was read before the training began",
    ),
    arrived=Threshold(0.3, "share of the file's tensors found in a network; an exchanged head leaves over 0.8"),
    tensors=Threshold(4, "tensors with names of weights in the file; fewer are not a network"),
)
def loaded_tensors_coverage(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A file of weights is read, but its tensors are in no network when training begins.

    What it finds:
        Weights that were filtered, renamed or copied away on their way from `torch.load` into the network, without any
        error.
    Why it stops learning:
        The run believes that it starts from trained weights and starts from noise.
    Evidence it needs:
        CheckpointRead (a watched script).
    How it decides:
        A few values of every tensor of the file are compared with every parameter and buffer of every living module
        just before the first backward pass. Fewer than `arrived` found: `demonstrated`. A load that was already
        reported as partial (C1102) is not reported again.
    Remedy:
        Print which names are left after filtering; load strictly.
    Trial it proposes:
        None; fix the loading.
    Known false positives:
        Weights that are read for another purpose than to train on (an ensemble, a comparison).
    References:
        None.
    """
    partial = {load.file for load in evidence.of(WeightsLoaded) if not load.strict and load.matched < load.tensors / 2}
    for file in evidence.of(CheckpointRead):
        if file.tensors < limits.tensors or file.step != 0 or file.file in partial:
            continue
        if file.arrived >= limits.arrived * file.tensors:
            continue
        yield Found(
            message=f"{file.arrived} of {file.tensors} tensors of {file.file} are in a network when training begins: "
            "the file was read, but its weights did not arrive.",
            standing=Standing.DEMONSTRATED,
            location=file.where,
            numbers={"arrived": file.arrived, "in_file": file.tensors},
            remedy="Compare the names in the file with those of the network, and load strictly.",
        )
