"""M215 tensor-outside-the-state."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import ReloadTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "M215",
    "tensor-outside-the-state",
    Severity.MAJOR,
    needs=(ReloadTried,),
    thing="networks that can be made a second time",
    change=Threshold(0.01, "of the output's spread: a network loaded from its own state should give the same numbers"),
)
def tensor_outside_state(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A network computes with random numbers that are neither parameters nor buffers of its state.

    What it finds:
        `self.keys = torch.randn(n, d)` in a module: a memory, a projection, a permutation, a codebook; a buffer with
        `persistent=False` whose values are drawn.
    Why it stops learning:
        Such a tensor is not trained, not moved to the device and not saved. A network that is loaded from a file, or
        made again to resume, has other numbers there, and its weights belong to the old ones.
    Evidence it needs:
        ReloadTried (a watched script): the network is made a second time as the script makes it, in a child process.
    How it decides:
        Two networks are made by one constructor with other seeds, the second gets the `state_dict` of the first, and
        both are given the same input in evaluation mode. Their outputs differ by `change` or more, while the first one
        repeats itself, and are the same once the attributes named have been exchanged: `demonstrated`.
    Remedy:
        nn.Parameter for what is to be learned, register_buffer for what is to stay.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A network that is only ever used in the process that trains it.
    References:
        PyTorch documentation, `torch.nn.Module.register_buffer`.
    """
    for one in evidence.of(ReloadTried):
        if not one.attributes or one.change < limits.change:
            continue
        names = " and ".join(f"self.{name}" for name in one.attributes[:3])
        several = len(one.attributes) > 1
        yield Found(
            variant="drawn-and-not-saved",
            message=f"A second {one.network} with the state_dict of the first computes something else (by "
            f"{min(one.change, 9.99):.0%} of the spread of the output): {names} of {one.owner} "
            f"{'are' if several else 'is'} drawn at random and {'are' if several else 'is'} neither "
            f"{'parameters' if several else 'a parameter'} nor in the state, so never trained and not saved.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"change": round(one.change, 4), "attributes": len(one.attributes)},
            remedy="Wrap it in nn.Parameter if it is to be learned, or register it with register_buffer.",
        )
