"""D114 where each part of the data is standardised by figures of its own."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import PartsStandardised
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D114",
    "pipelines-differ",
    Severity.MAJOR,
    needs=(PartsStandardised,),
    thing="data sets of training and evaluation that keep arrays under one name",
    rows=Threshold(50, "rows of the evaluation: of fewer, a mean of 0 tells little"),
)
def parts_standardised_alone(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Training and evaluation are each standardised by their own mean and deviation.

    A scaler that is fitted on each part anew (`fit_transform` on the test data, an own function that takes mean and
    deviation of what it is given): one and the same raw value has another number in evaluation than in training, and a
    part whose level differs is moved to where the training lies. The arrays that both data sets keep under one name
    are looked at in a child process: with the training's figures, an evaluation of n rows has a mean that is off 0 by
    about 1/sqrt(n). ``suspected`` where it is within a two-hundredth of that, and the deviation is, in both parts.
    Rows, and groups of rows that follow one another, that are each standardised alone are left aside.
    """
    for seen in evidence.of(PartsStandardised):
        if not seen.name or seen.rows < limits.rows:
            continue
        yield Found(
            variant="own-figures",
            message=f"{seen.dataset} keeps {seen.rows} rows in {seen.name} with mean 0 and deviation 1 over "
            f"{seen.over}, to rounding, as {seen.training} does its {seen.rows_in_training}: each part is standardised "
            "by its own figures, so that a raw value has one number in training and another in evaluation.",
            standing=Standing.SUSPECTED,
            location=seen.where or seen.loader,
            numbers={"rows": seen.rows, "rows_in_training": seen.rows_in_training},
            remedy="Take mean and deviation (fit the scaler) from the training part once, and use them for every part.",
        )
