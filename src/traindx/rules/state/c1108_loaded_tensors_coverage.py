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
    """A file of weights is read, but its tensors are in no network when one is used.

    What it finds:
        Weights that were filtered, renamed or copied away on their way from `torch.load` into the network, without any
        error.
    Why it stops learning:
        The run believes that it starts from trained weights and starts from noise.
    Evidence it needs:
        CheckpointRead (a watched script).
    How it decides:
        A few values of every tensor of the file are compared with every parameter and buffer of every living module
        just before the first backward pass, values of fewer bits allowing for their rounding. Fewer than `arrived`
        found: `demonstrated`. In a script that does not train they are compared when networks are called; if no file
        and no `load_state_dict` brought weights into any of them, it is `suspected`, as the script may read a file only
        to look at it. A file that was never compared is not judged, and a load that was already reported as partial
        (C1102) is not reported again.
    Remedy:
        Print which names are left after filtering; load strictly.
    Trial it proposes:
        None; fix the loading.
    Known false positives:
        Weights that are read for another purpose than to train on (an ensemble, a comparison).
    References:
        None.
    """
    files = evidence.of(CheckpointRead)
    loads = evidence.of(WeightsLoaded)
    partial = {one.file for one in loads if not one.strict and one.offered and one.matched < one.tensors / 2}
    loaded = any(load.changed for load in loads)
    loaded = loaded or any(file.tensors and file.arrived >= limits.arrived * file.tensors for file in files)
    for file in files:
        if file.tensors < limits.tensors or file.step != 0 or file.file in partial or not file.compared:
            continue
        if file.arrived >= limits.arrived * file.tensors or (file.compared != "training" and loaded):
            continue
        when = "when training begins" if file.compared == "training" else "whenever one is called"
        yield Found(
            message=f"{file.arrived} of {file.tensors} tensors of {file.file} are in a network {when}: "
            "the file was read, but its weights did not arrive.",
            standing=Standing.DEMONSTRATED if file.compared == "training" else Standing.SUSPECTED,
            location=file.where,
            numbers={"arrived": file.arrived, "in_file": file.tensors},
            remedy="Compare the names in the file with those of the network, and load strictly.",
        )
