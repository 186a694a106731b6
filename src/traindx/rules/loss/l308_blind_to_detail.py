"""L308 blind-to-detail."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.loss import TermDetail
from traindx.evidence.outputs import OutputSpectrum
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.outputs._bands import between, ratio


@rule(
    "L308",
    "blind-to-detail",
    Severity.MAJOR,
    needs=(TermDetail, OutputSpectrum),
    rise=Threshold(
        0.05, "of what the mean squared error does; absolute error and SSIM: 2 to 10, a loss on cells: 0.02"
    ),
    pull=Threshold(
        0.1, "cosine of the step downhill with the missing detail; squared error: 1, absolute error: 0.7, cells: 0.05"
    ),
    fine=Threshold(0.02, "of the targets' energy above half of Nyquist, as in Y705"),
    detail=Threshold(0.005, "of the targets' energy above half of Nyquist, as in Y705"),
)
def blind_to_detail(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The output is blurred, and no term of the loss asks for detail.

    What it finds:
        Losses that are computed on averaged or blurred images, or through a pyramid without its finest level.
    Why it stops learning:
        No gradient reaches the high spatial frequencies: no number of epochs draws them.
    Evidence it needs:
        TermDetail (check *blind-terms*), OutputSpectrum (check *outputs*, of the trained model).
    How it decides:
        Everything above 35 % of the Nyquist frequency is taken from the target, and the network answers with what is
        left. The loss is blind to detail if it rises by less than `rise` of what the mean squared error would, and the
        step downhill points to the missing detail by a cosine below `pull`. It is reported where the trained model's
        output lacks detail that the targets have: `demonstrated`.
    Remedy:
        Compare at full resolution; an absolute or gradient difference of voxels reaches every frequency.
    Trial it proposes:
        None that is generic.
    Known false positives:
        A training that is meant for coarse structure, with targets that were not made coarse.
    References:
        Jiang et al., Focal frequency loss, ICCV 2021.
    """
    seen = evidence.last(OutputSpectrum)
    records = evidence.of(TermDetail)
    whole = next((record for record in records if record.term == "total"), records[0] if len(records) == 1 else None)
    if seen is None or whole is None or whole.share <= 0:
        return
    total = between(seen, seen.target, 0.0, 2.0)
    wanted = between(seen, seen.target, 0.5, 2.0) / total if total > 0 else 0.0
    fine = ratio(seen, 0.5, 2.0)
    if fine > limits.fine or wanted < limits.detail:
        return
    against = whole.rise / whole.share
    if against >= limits.rise or whole.pull >= limits.pull:
        return
    yield Found(
        message=f"The output keeps {100 * fine:.1f} % of the targets' energy above half of the Nyquist frequency, and "
        f"the loss does not ask for it: without detail it rises by {100 * against:.1f} % of what the mean squared "
        "error would.",
        standing=Standing.DEMONSTRATED if whole.validated else Standing.SUSPECTED,
        location=whole.where,
        numbers={"rise": round(against, 5), "pull": round(whole.pull, 5), "energy_high": round(fine, 5)},
        remedy="Compare prediction and target at full resolution, beside the coarse comparison.",
        pictures=("output-spectrum",),
    )
