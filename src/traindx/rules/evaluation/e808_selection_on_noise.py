"""E808 selection-on-noise."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import stdev

from traindx.evidence.base import Evidence
from traindx.evidence.deployment import RepeatedValidation
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "E808",
    "selection-on-noise",
    Severity.MAJOR,
    needs=(RepeatedValidation,),
    redrawn=Threshold(2.0, "times the difference that the metric calls negligible, where validation draws new data"),
    sampled=Threshold(
        5.0, "the same where the data stay and only the prediction is random, as dropout and sampling are"
    ),
    relative=Threshold(0.02, "of the mean, for metrics that declare nothing negligible"),
)
def selection_on_noise(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Validation gives one and the same model different scores: a best checkpoint is a lucky draw.

    What it finds:
        Validation on a random patch a case, validation drawn with training augmentation, a loss on redrawn noise, a
        prediction that samples.
    Why it stops learning:
        The best of n evaluations of a constant rises with n. Early stopping and checkpoints follow luck, and a real
        improvement is not seen.
    Evidence it needs:
        RepeatedValidation (checks *repeat-validation* and *trained-repeat-validation*).
    How it decides:
        A fixed model is scored in four passes over the first validation batches. The range of the four means is
        compared with `redrawn` times what the metric calls negligible (or `relative` of the mean): `demonstrated` if
        the passes saw different targets. If they saw the same ones the prediction itself is random: `suspected`, above
        `sampled` times.
    Remedy:
        Validate on whole cases, or on patches, noise and augmentation drawn once with a fixed seed.
    Trial it proposes:
        None; the noise is measured.
    Known false positives:
        Very large validation sets of which each pass takes a random part on purpose.
    References:
        Post-mortem of the surface segmentation: the same image between .09 and .78.
    """
    records = evidence.of(RepeatedValidation)
    chosen = [record for record in records if record.trained] or records
    for record in chosen[:1]:
        spread = max(record.values) - min(record.values)
        mean = sum(record.values) / len(record.values)
        unit = record.negligible or limits.relative * abs(mean)
        if unit <= 0 or spread <= (limits.sampled if record.same_data else limits.redrawn) * unit:
            continue
        what = "a trained" if record.trained else "an untrained"
        why = "its prediction is random" if record.same_data else "every pass draws other data"
        suffix = f" {record.unit}" if record.unit else ""
        yield Found(
            message=f"Validation scores one fixed model ({what} one) between {min(record.values):.3g} and "
            f"{max(record.values):.3g}{suffix} of {record.metric} in {len(record.values)} passes: {why}, and the best "
            "checkpoint is the luckiest.",
            standing=Standing.SUSPECTED if record.same_data else Standing.DEMONSTRATED,
            location=record.where,
            numbers={
                "lowest": min(record.values),
                "highest": max(record.values),
                "standard_deviation": stdev(record.values),
                "same_data": record.same_data,
            },
            remedy="Average several samples a case with fixed seeds before you select on this figure."
            if record.same_data
            else "Validate on whole cases, or on patches drawn once with a fixed seed.",
        )
