"""C1103 train/eval-mode-wrong, from an evaluation call with other samples beside the first."""

from __future__ import annotations

import re
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import BatchProbed
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule

REDUCES = ("mean", "var", "std", "var_mean", "std_mean", "batch_norm", "native_batch_norm", "norm", "amax", "amin")
SOFTMAX = ("softmax", "log_softmax", "special_softmax")
NORMS = {"norm", "bn", "batchnorm", "normalize", "normalise", "normalization", "standardize", "standardise", "whiten"}


@rule(
    "C1103",
    "mode-wrong",
    Severity.MAJOR,
    needs=(BatchProbed,),
    batch_difference=Threshold(0.01, "of the output's spread; other orders of the same sums stay below 1e-4"),
)
def normalised_by_the_batch(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A normalisation of the user's own that goes by the other samples of the batch in evaluation.

    An evaluation call is made again with the first sample in the place of all others. If what the network gives for
    that sample differs by more than `batch_difference` of its spread, and the first operation that tells the two calls
    apart is a mean, a spread or a batch norm in a function of the user's that is named for a normalisation, or in a
    line that takes both a mean and a spread, it is `suspected`. A layer of a library (one without running statistics
    is chosen so), attention among the samples, and losses are left alone; but a softmax of the user's that is the first
    to tell the calls apart, and so runs over the samples, is `suspected` as well.
    """
    seen = set()
    for record in evidence.of(BatchProbed):
        if record.difference < limits.batch_difference or not record.own or record.mixed_at in seen:
            continue
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", record.owner.replace("<locals>", ""))
        spoken = set(re.split(r"[_\W\d]+", spaced.lower()))
        if record.function in SOFTMAX and record.owner:
            seen.add(record.mixed_at)
            yield Found(
                variant="softmax-over-the-batch",
                message=f"The {record.function} here runs over the samples of the batch: in evaluation what "
                f"{record.network} gives for one sample differs by {record.difference:.2g} of its spread beside other "
                "samples, and of a sample alone each part gets the weight 1.",
                location=record.mixed_at or record.where,
                numbers={"difference": record.difference, "samples": record.samples},
                remedy="Give it the axis of what is to be weighed within a sample (dim=1 or dim=-1 as a rule).",
            )
            continue
        if record.function not in REDUCES or not (record.standardises or NORMS & spoken):
            continue
        seen.add(record.mixed_at)
        yield Found(
            variant="normalised-by-the-batch",
            message=f"In evaluation what {record.network} gives for one sample depends on the others of its batch: "
            f"beside other samples the output differs by {record.difference:.2g} of its spread, and the first "
            f"operation that does is {record.function} here.",
            location=record.mixed_at or record.where,
            numbers={"difference": record.difference, "samples": record.samples},
            remedy="Normalise every sample by itself, or by statistics that were gathered in training.",
        )
