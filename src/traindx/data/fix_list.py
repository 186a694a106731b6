"""The files and rows to mend, one a line, for a spreadsheet or a script."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from traindx.diagnosis import Diagnosis
from traindx.finding import Offender
from traindx.whole_files import write_whole

HEAD = ("code", "finding", "standing", "severity", "file", "inside", "line", "what", "remedy")


def write(diagnosis: Diagnosis, path: Path) -> int:
    """Write the offenders of all findings as CSV.

    Args:
        diagnosis: Of a data folder.
        path: The file; it is replaced as a whole.

    Returns:
        Number of rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(HEAD)
    count = 0
    for row in rows(diagnosis):
        writer.writerow([_inert(cell) for cell in row])
        count += 1
    write_whole(path, table.getvalue())
    return count


def rows(diagnosis: Diagnosis) -> Iterator[tuple[str, ...]]:
    """Cells in the order of :data:`HEAD`, findings in the order of the report."""
    for finding in diagnosis.findings:
        for one in finding.offenders:
            place = split(one)
            said = (finding.code, finding.name, finding.standing.value, finding.severity.value)
            yield (*said, *place, one.detail, finding.remedy)


def split(offender: Offender) -> tuple[str, str, str]:
    """File, what lies inside it, and line, of which the last two may be empty."""
    file, mark, inside = offender.name.partition("#")
    if mark:
        return file, inside, ""
    before, colon, last = offender.name.rpartition(":")
    return (before, "", last) if colon and last.isdigit() else (offender.name, "", "")


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: a file name may begin with ``=``."""
    return "'" + cell if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
