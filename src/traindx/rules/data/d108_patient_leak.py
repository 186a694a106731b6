"""D108: the same patient in two splits."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import SplitOverlap
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.data._words import copied, pairs, place, some

_PLURALS = {"patient": "patients", "study": "studies", "series": "series", "case": "cases"}


@rule(
    "D108",
    "patient-leak",
    Severity.CRITICAL,
    needs=(SplitOverlap,),
    looked_at=requires(
        SplitOverlap,
        lambda record, limits: record.usable,
        otherwise="nothing that names a patient or an image is known of the splits",
    ),
    alike=Threshold(
        0.93,
        "copies rescaled, recompressed or brightened: 0.95 to 1.00; different patients: at most 0.71 in 180,000 pairs "
        "of radiographs, 0.91 when mirrored, 0.925 for CT",
    ),
)
def patient_leak(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Patients, studies, series, cases or images that occur in two splits, and near-duplicates across splits (also
        mirrored ones, as augmentation before splitting leaves them).

    Why it stops learning:
        The model recognises patients instead of disease: validation looks good, the checkpoint that memorises best is
        kept, and the model fails on the next hospital.

    Evidence it needs:
        ``SplitOverlap``: splits from a table, folders or arrays; patients from DICOM headers, a table or folder names.

    How it decides:
        Demonstrated for an identifier or identical pixels in two splits: splits must be disjoint by patient.
        Placeholders (ANONYMOUS, 0) and one identifier for everybody do not count. Suspected for near-duplicates: a
        64-bit difference hash proposes pairs, and the correlation of the detail of their thumbnails (32 x 32,
        high-passed) must reach ``alike``.

    Remedy:
        Split by patient before anything else: before slicing, augmenting or balancing. Report figures again afterwards.

    Trial it proposes:
        None here; the worth of a leak shows as the drop of the metric on a clean split.

    Known false positives:
        Identifiers that were assigned per site and collide between sites. Near-duplicates: two exposures of one
        phantom.

    References:
        Roberts et al., Nature Machine Intelligence 3 (2021), on duplicated patients in COVID-19 data sets; Yagis et
        al., Scientific Reports 11 (2021), on slice-level splits.
    """
    shared = [record for record in evidence.of(SplitOverlap) if record.usable and record.shared]
    named = [record for record in shared if record.identity in _PLURALS]
    if named:
        first = named[0]
        also = "".join(f", {record.shared} {_PLURALS[record.identity]}" for record in named[1:])
        yield Found(
            message=f"{first.shared} of {first.members} {_PLURALS[first.identity]}{also} occur in more than one of the "
            f"splits {', '.join(first.splits)}: {some(first.examples)}.",
            standing=Standing.DEMONSTRATED,
            location=place(evidence, first.examples) if first.identity != "case" else None,
            offenders=first.examples,
            numbers={record.identity: record.shared for record in named} | {"images": first.images},
            remedy="Split by patient, before slicing and augmentation, and measure again.",
        )
    for record in shared:
        if record.identity == "pixels":
            yield Found(
                message=f"{copied(record.shared)} pixel for pixel in more than one of the splits "
                f"{', '.join(record.splits)}: {some(record.examples)}.",
                standing=Standing.DEMONSTRATED,
                location=place(evidence, record.examples),
                offenders=record.examples,
                numbers={"images": record.shared},
                remedy="Remove the copies from validation and test, and measure again.",
            )
        elif record.identity == "near-duplicate":
            close = [example for example in record.examples if example.value >= limits.alike]
            if close:
                least = len(close) == len(record.examples) and record.shared > len(close)
                yield Found(
                    message=f"{pairs(len(close), least)} in different splits: {some(close)}.",
                    severity=Severity.MAJOR,
                    location=place(evidence, close),
                    offenders=close,
                    numbers={"pairs": len(close), "highest correlation": close[0].value},
                    remedy="Look at the pairs; if they are one patient, put them into one split.",
                    pictures=("near-duplicates",),
                )
