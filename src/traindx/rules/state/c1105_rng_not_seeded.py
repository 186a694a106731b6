"""C1105 rng-not-seeded."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import SplitSeen
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, requires, rule


@rule(
    "C1105",
    "rng-not-seeded",
    Severity.MAJOR,
    needs=(SplitSeen,),
    looked_at=requires(SplitSeen, lambda split, limits: split.checkpoints, thing="random splits beside checkpoints"),
)
def rng_not_seeded(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The data set is divided at random without a seed, so every process draws another division.

    What it finds:
        A `random_split` whose generator nobody seeded, in a script that writes or reads checkpoints.
    Why it stops learning:
        After a resumption, on another rank or in the evaluation script, validation patients are training patients: the
        validation figure is too good, and no two runs can be compared.
    Evidence it needs:
        SplitSeen (a watched script).
    How it decides:
        No seed call before the division and no generator given, and checkpoints in use. `suspected`. A script without
        checkpoints divides and validates in the same process and is left alone.
    Remedy:
        Give the split its own generator, `torch.Generator().manual_seed(0)`, or store the division in a file.
    Trial it proposes:
        None.
    Known false positives:
        A division that is written into the checkpoint.
    References:
        PyTorch notes, "Reproducibility".
    """
    for split in evidence.of(SplitSeen):
        if split.seeded or not split.checkpoints:
            continue
        yield Found(
            message=f"{split.function} divides the data {split.lengths} with a generator that nobody seeded: a resumed "
            "or evaluating process draws another division, and validation samples become training samples.",
            location=split.where,
            numbers={"parts": str(split.lengths)},
            remedy="Pass generator=torch.Generator().manual_seed(0), or store the division.",
        )
