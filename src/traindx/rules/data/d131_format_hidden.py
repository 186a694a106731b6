"""D131: files that a search by suffix misses."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import FileCensus, HiddenFormat
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, requires, rule
from traindx.rules.data._words import place, some

_NAMES = {"dicom": "DICOM", "nifti": "NIfTI", "image": "image", "array": "array"}


@rule(
    "D131",
    "format-hidden",
    Severity.NOTE,
    needs=(FileCensus,),
    looked_at=requires(FileCensus, lambda census, limits: census.readable > 0, otherwise="no file could be read"),
)
def format_hidden(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Files whose suffix does not say what they are, for example DICOM without ``.dcm``.

    Why it stops learning:
        ``glob("*.dcm")`` finds nothing, or finds the other half of the patients only, and nobody counts.

    Evidence it needs:
        ``FileCensus``, and ``HiddenFormat`` where there are such files.

    How it decides:
        Suspected (a note; minor where some files of the format do have the suffix): the first bytes say one format, the
        suffix another or none.

    Remedy:
        Search by content (``pydicom.misc.is_dicom``) or rename, and print how many files a loader found.

    Trial it proposes:
        None.

    Known false positives:
        Loaders that take every file of a folder.

    References:
        DICOM PS3.10 8.2: DICOM file identifiers on media have no suffix at all.
    """
    for record in evidence.of(HiddenFormat):
        some_have = record.hidden < record.total
        suffix = f"the suffix {record.suffix}" if record.suffix else "no suffix"
        yield Found(
            message=f"{record.hidden} of {record.total} {_NAMES[record.format]} files have {suffix}, so that a search "
            f"by suffix "
            f"misses them: {some(record.examples, 2)}.",
            severity=Severity.MINOR if some_have else Severity.NOTE,
            location=place(evidence, record.examples),
            offenders=record.examples,
            numbers={"hidden": record.hidden, "total": record.total},
            remedy="Search by content, and compare the number of cases found with the number of cases there are.",
        )
