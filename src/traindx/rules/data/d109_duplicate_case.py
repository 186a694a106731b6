"""D109: one image under two names."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import Copies
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import pairs, place, some


@rule(
    "D109",
    "duplicate-case",
    Severity.MINOR,
    needs=(Copies,),
    alike=Threshold(
        0.93,
        "copies rescaled, recompressed or brightened: 0.95 to 1.00; different patients: at most 0.71 in 180,000 pairs "
        "of radiographs, 0.91 when mirrored, 0.925 for CT",
    ),
)
def duplicate_case(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Images that are identical pixel for pixel, or near-duplicates of one another (rescaled, recompressed, mirrored),
        outside the splits that D108 looks at; and identical images with different labels.

    Why it stops learning:
        Copies weigh twice in the loss and leak as soon as somebody splits at random. Copies with different labels put a
        floor under the loss that no model can pass.

    Evidence it needs:
        ``Copies``.

    How it decides:
        Demonstrated where identical images carry different labels in the tables: both cannot be true. Otherwise
        suspected: identical pixels by hash of the decoded image, near-duplicates by hash proposal and a correlation of
        detail of at least ``alike``. Images of one value, and images of one patient or case, are not compared.

    Remedy:
        Keep one of each; where their labels differ, find out which is right.

    Trial it proposes:
        None.

    Known false positives:
        A case stored deliberately in two encodings or resolutions under unrelated names.

    References:
        The duplicates in the public COVID-19 image collections: Roberts et al., Nature Machine Intelligence 3 (2021).
    """
    for record in evidence.of(Copies):
        if record.identity == "pixels" and record.groups:
            contradicted = record.different_labels > 0
            tail = f" {record.different_labels} of these groups carry different labels." if contradicted else ""
            yield Found(
                message=f"{record.copies} of {record.images} images repeat another one pixel for pixel: "
                f"{some(record.examples)}.{tail}",
                standing=Standing.DEMONSTRATED if contradicted else Standing.SUSPECTED,
                severity=Severity.MAJOR if contradicted else None,
                location=place(evidence, record.examples),
                offenders=record.examples,
                numbers={
                    "copies": record.copies,
                    "groups": record.groups,
                    "with other labels": record.different_labels,
                },
                remedy="Keep one of each" + (" and settle which label is right." if contradicted else "."),
            )
        elif record.identity == "near-duplicate":
            close = [example for example in record.examples if example.value >= limits.alike]
            if close:
                least = len(close) == len(record.examples) and record.groups > len(close)
                yield Found(
                    message=f"{pairs(len(close), least)} under different names: {some(close)}.",
                    location=place(evidence, close),
                    offenders=close,
                    numbers={"pairs": len(close), "highest correlation": close[0].value},
                    remedy="Look at the pairs; keep one of each, and keep copies in one split.",
                    pictures=("near-duplicates",),
                )
