"""D113: values in masks that the task does not declare."""

# Written for files on disk; the record is general enough for masks in batches, which a passive watch may write too.

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_labels import LabelValue, MaskValues
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, some


@rule(
    "D113",
    "label-values-undeclared",
    Severity.MAJOR,
    needs=(MaskValues,),
    majority=Threshold(0.4, "foreground of organs and lesions covers below 0.35 of a volume in all sets looked at"),
    stray=Threshold(0.05, "a value in fewer than one mask of twenty, where the others occur in most, is a slip"),
    fewest_masks=Threshold(20, "below twenty masks one mask is more than a twentieth"),
    common=Threshold(0.5, "a value in half of the masks or more is a class"),
)
def label_values_undeclared(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Mask values that nobody declared: a "not labelled" value trained as foreground, 0/255 masks, values that
        interpolation or JPEG left between two classes, fractions, and values that occur in a stray mask only.

    Why it stops learning:
        A loss that takes ``mask > 0`` trains unlabelled voxels as foreground, and the model learns their prior: a
        constant output. 255 as a class index is out of range; interpolated values are classes that do not exist.

    Evidence it needs:
        ``MaskValues``; declared values come from the command line or ``dataset.json``.

    How it decides:
        With declared values: demonstrated for every other value. Without: suspected where the highest of three or more
        values covers more than ``majority`` of all voxels (it may mean "not labelled"), where masks hold only 0 and
        255 (or 65535), where the foreground is 1 in some masks and 255 or 65535 in others, where values lie between
        two main ones, where values are fractions, and where a value occurs in fewer than ``stray`` of at least
        ``fewest_masks`` masks while others occur in ``common`` of them or more.

    Remedy:
        Declare the values (``--label-values 0,1 --ignore-value 2``), mask the ignored one out of every loss and metric,
        map 255 to 1, and resample masks with nearest neighbour.

    Trial it proposes:
        ``ignore-value``, where a case offers it: the loss without the undeclared voxels.

    Known false positives:
        Soft labels by design; tasks whose foreground is the larger part of the volume.

    References:
        The surface-segmentation volumes with 0, 1 and 2 = not labelled, in which 2 filled 71 % of the voxels.
    """
    white: list[MaskValues] = []
    for record in evidence.of(MaskValues):
        declared = bool(record.declared)
        foreground = [entry.value for entry in record.values if entry.value != 0]
        if not declared and len(foreground) == 1 and foreground[0] in FULL and not record.many_values:
            white.append(record)
        if declared:
            yield from _against_declared(record, evidence)
        else:
            yield from _by_pattern(record, evidence, limits)
        sure = Standing.DEMONSTRATED if declared else Standing.SUSPECTED
        if record.fractional:
            yield Found(
                message=f"{of(record.fractional, record.masks, 'mask')} of “{record.name}” hold values that are no "
                f"integers: "
                f"{some(record.fractional_examples)}.",
                standing=sure,
                location=place(evidence, record.fractional_examples),
                offenders=record.fractional_examples,
                numbers={"fractional": record.fractional, "masks": record.masks},
                pictures=(f"mask values: {record.name}",),
                remedy="Resample masks with nearest neighbour, and store them as integers.",
            )
        if record.many_values and not declared:
            yield Found(
                message=f"{of(record.many_values, record.masks, 'mask')} of “{record.name}” hold grey values between "
                f"two main "
                f"ones, as interpolation or JPEG leaves them: {some(record.many_values_examples)}.",
                location=place(evidence, record.many_values_examples),
                offenders=record.many_values_examples,
                numbers={"interpolated": record.many_values, "masks": record.masks},
                pictures=(f"mask values: {record.name}",),
                remedy="Go back to the drawn masks; resample with nearest neighbour and store as PNG or NIfTI.",
            )
    if white:
        names = ", ".join(f"“{record.name}”" for record in white[:3]) + (", ..." if len(white) > 3 else "")
        full = white[0].values[-1].value
        yield Found(
            message=f"The masks of {names} hold 0 and {full:g}: as a class index {full:g} is out of range, as a target "
            f"of a sigmoid it is {full:g} times too large.",
            severity=Severity.NOTE,
            numbers={"sets": len(white), f"share of value {full:g}": max(record.values[-1].share for record in white)},
            remedy=f"Map {full:g} to 1 on loading (mask > {full // 2:g}), and declare it with --label-values "
            f"0,{full:g}.",
        )


FULL = (255.0, 65535.0)
"""White in files of 8 and of 16 bits."""


def _against_declared(record: MaskValues, evidence: Evidence) -> Iterator[Found]:
    known = {*record.declared, *([record.ignored] if record.ignored is not None else [])}
    strange = [entry for entry in record.values if entry.value not in known]
    if not strange:
        return
    most = max(strange, key=lambda entry: entry.share)
    yield Found(
        message=f"“{record.name}” holds {_said(strange)}, which {record.declared_by} does not declare "
        f"({', '.join(f'{value:g}' for value in record.declared)}): {some(record.undeclared_examples)}.",
        standing=Standing.DEMONSTRATED,
        location=place(evidence, record.undeclared_examples),
        offenders=record.undeclared_examples,
        numbers={f"share of value {entry.value:g}": entry.share for entry in strange[:6]},
        pictures=(f"mask values: {record.name}",),
        remedy="Declare the value, map it to a class, or mask it out of every loss and metric.",
        proposals=(Proposal(treatment="ignore-value", parameters={"value": most.value}),),
    )


def _by_pattern(record: MaskValues, evidence: Evidence, limits: Limits) -> Iterator[Found]:
    values = record.values
    top = values[-1] if values else None
    if top is not None and len(values) >= 3 and top.share > limits.majority and top.value > 0:
        yield Found(
            message=f"Value {top.value:g} of “{record.name}” covers {top.share:.0%} of all voxels, more than any "
            "foreground usually does: it may be the background of inverted masks, or mean “not labelled”, and would "
            "then be trained as foreground.",
            numbers={f"share of value {entry.value:g}": entry.share for entry in values},
            remedy=f"Find out what {top.value:g} means; invert the masks if it is background, and mask it out of every "
            "loss and metric if it is not labelled.",
            proposals=(Proposal(treatment="ignore-value", parameters={"value": top.value}),),
        )
    yield from _in_two_codes(record)
    yield from _stray(record, limits)


def _in_two_codes(record: MaskValues) -> Iterator[Found]:
    """Masks of two values whose foreground is 1 in some and the highest number of the file type in others."""
    foreground = [entry for entry in record.values if entry.value != 0]
    codes = {1.0, *FULL}
    if len(foreground) < 2 or not {entry.value for entry in foreground} <= codes or record.many_values:
        return
    if sum(entry.masks for entry in foreground) > record.masks:
        return  # both in one mask: classes, or 255 for what is not labelled
    said = ", ".join(f"{entry.value:g} in {entry.masks}" for entry in foreground)
    yield Found(
        message=f"The masks of “{record.name}” say foreground in different numbers: {said} of {record.masks} masks. "
        "What is divided by one of them is 255 or 65535 times too large or too small in the others.",
        numbers={f"masks with value {entry.value:g}": entry.masks for entry in foreground},
        remedy="Make every mask 0 and 1 on loading (mask > 0).",
    )


def _stray(record: MaskValues, limits: Limits) -> Iterator[Found]:
    if record.masks < limits.fewest_masks or record.many_values or record.fractional:
        return
    foreground = [entry for entry in record.values if entry.value != 0]
    stray = [entry for entry in foreground if entry.masks < limits.stray * record.masks]
    common = [entry for entry in foreground if entry.masks >= limits.common * record.masks]
    if stray and common and len(stray) < len(foreground):
        yield Found(
            message=f"“{record.name}” holds {_said(stray)} in {max(entry.masks for entry in stray)} of {record.masks} "
            f"masks only, "
            f"while {_said(common)} occurs in most.",
            severity=Severity.MINOR,
            numbers={f"masks with value {entry.value:g}": entry.masks for entry in stray[:6]},
            remedy="Look at these masks; declare the values with --label-values if they are meant.",
        )


def _said(entries: list[LabelValue]) -> str:
    shown = ", ".join(f"{entry.value:g}" for entry in entries[:5]) + (", ..." if len(entries) > 5 else "")
    return f"value{'s' if len(entries) > 1 else ''} {shown} ({sum(entry.share for entry in entries):.2%} of the voxels)"
