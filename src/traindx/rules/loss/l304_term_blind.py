"""L304 term-blind."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.loss import TermBlindness
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L304",
    "term-blind",
    Severity.MAJOR,
    needs=(TermBlindness,),
    looked_at=requires(
        TermBlindness,
        lambda record, limits: record.judges_target and record.wrong > 0,
        otherwise="no term of the loss tells the target from other ones",
    ),
    turned=Threshold(0.002, "of what a plainly wrong answer does; round-off of sums in another order is below 1e-4"),
    contrast_scaled=Threshold(0.002, "the same for a truth at 70 % of its contrast"),
)
def term_blind(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A term compares the prediction with the target and cannot tell the target from its mirror image.

    What it finds:
        Terms that compare two numbers instead of two images (the total variation of the prediction with that of the
        target, means, histograms), and losses that do not change when the prediction is contrast-scaled.
    Why it stops learning:
        Such a term is satisfied by structures anywhere. It cannot teach where an edge belongs, whatever its weight.
    Evidence it needs:
        TermBlindness (check *blind-terms*).
    How it decides:
        The network's answer is replaced by the target, by its mirror image along every axis along which it is not
        symmetric, by the target at 70 % of its contrast, and by plainly wrong answers (another sample, a constant, the
        target upside down in value). A term that depends on the target, changes for a wrong answer, and changes by less
        than `turned` of that for every mirror image is blind to place: `suspected`, as there are terms that are meant
        to be. If the whole loss is blind to place, it is `demonstrated`. A whole loss that changes by less than
        `contrast_scaled` for the truth at another scale is `suspected`, unless it overlooks a shift of all values as
        well: then it is a correlation or mutual information, which ignores contrast on purpose.
    Remedy:
        Compare voxel by voxel first and average afterwards: the mean of differences, not the difference of means.
    Trial it proposes:
        `drop-term` for a single term.
    Known false positives:
        Terms that are blind on purpose: histogram matching, amplitude spectra, total mass, correlation. Masks and
        classes are not examined: a label of the whole image beside them is blind to places on purpose.
    References:
        None.
    """
    records = [record for record in evidence.of(TermBlindness) if record.judges_target]
    whole = {record.term for record in records if record.term == "total" or len(evidence.of(TermBlindness)) == 1}
    spatially_invariant = [
        record for record in records if _sees(record) and record.turned <= limits.turned * record.wrong
    ]
    everything = any(record.term in whole for record in spatially_invariant)
    for record in spatially_invariant:
        if record.term == "total" and len(spatially_invariant) > 1:
            continue  # its blind terms are named instead
        yield Found(
            message=f"{_name(record.term)} is {record.perfect:.4g} for the target and changes by {record.turned:.2g} "
            f"when the target is mirrored (a plainly wrong answer: {record.wrong:.4g}): it compares sums, not places"
            + (", and no other term sees places either." if everything else "."),
            standing=Standing.DEMONSTRATED if everything and record.validated else Standing.SUSPECTED,
            severity=Severity.CRITICAL if everything else None,
            location=record.where,
            numbers={"mirrored": record.turned, "wrong": record.wrong, "asymmetry": round(record.asymmetry, 3)},
            remedy="Compare voxel by voxel and average afterwards: the mean of differences, not a difference of means.",
            proposals=()
            if record.term in ("loss", "total")
            else (Proposal(treatment="drop-term", parameters={"term": record.term}),),
        )
    for record in records:
        small = limits.contrast_scaled * record.wrong
        by_design = record.lifted <= small
        if record.term in whole and record.wrong > 0 and record.contrast_scaled <= small and not by_design:
            yield Found(
                message=f"{_name(record.term)} changes by {record.contrast_scaled:.2g} when the target is scaled to "
                f"70 % of its contrast (a plainly wrong answer: {record.wrong:.4g}): it does not ask for the "
                f"right scale.",
                location=record.where,
                numbers={"contrast_scaled": record.contrast_scaled, "wrong": record.wrong},
                remedy="Add a term that compares values, unless the scale is fixed elsewhere.",
            )


def _sees(record: TermBlindness) -> bool:
    """True if a wrong answer changes the term, by more than round-off."""
    return record.wrong > 1e-6 * max(1e-12, abs(record.perfect)) and record.turned == record.turned


def _name(term: str) -> str:
    return "The whole loss" if term in ("loss", "total") else f"The loss term {term!r}"
