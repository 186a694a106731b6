"""D121: files that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import UnreadableFiles
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule
from traindx.rules.data._words import of, place, some


@rule("D121", "unreadable-file", Severity.MAJOR, needs=(UnreadableFiles,))
def unreadable_file(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Files that should hold an image and yield none: truncated, without pixels, not decodable, not what their name
        says. Also files that can be read although something in them is missing or contradicts itself.

    Why it stops learning:
        A loader either stops in the middle of an epoch, or catches the exception and trains on fewer cases, on zeros,
        or on the previous case with this one's label.

    Evidence it needs:
        ``UnreadableFiles``.

    How it decides:
        Demonstrated: the file was opened and no pixels came out, with the reason of the reader. Well-formed DICOM
        objects that never have pixels (radiotherapy plans, reports) are listed as not examined instead. Suspected for
        damaged files.

    Remedy:
        Copy the files again from their source, compare sizes, or take them out of the list of cases.

    Trial it proposes:
        None.

    Known false positives:
        A codec that this installation lacks (then the reason names the transfer syntax).

    References:
        DICOM PS3.10 7 (file meta information), PS3.5 A.4 (compressed transfer syntaxes).
    """
    for record in evidence.of(UnreadableFiles):
        if record.unreadable:
            yield Found(
                message=f"{of(record.unreadable, record.files, 'file')} cannot be read and would stop or silently "
                f"shrink the "
                f"training: {some(record.examples)}.",
                standing=Standing.DEMONSTRATED,
                location=place(evidence, record.examples),
                offenders=record.examples,
                numbers={"unreadable": record.unreadable, "files": record.files},
                remedy="Copy these files again from their source, or take them out of the list of cases: "
                + "; ".join(example.name for example in record.examples[:20])
                + (", ..." if record.unreadable > 20 else ""),
            )
        if record.damaged:
            yield Found(
                message=f"{of(record.damaged, record.files, 'file')} can be read but are damaged: "
                f"{some(record.damaged_examples)}.",
                severity=Severity.MINOR,
                location=place(evidence, record.damaged_examples),
                offenders=record.damaged_examples,
                numbers={"damaged": record.damaged, "files": record.files},
                remedy="Compare these files with their source.",
            )
