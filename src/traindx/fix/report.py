"""The report that a patch is made from: the newest of a folder, or a given one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from traindx.diagnosis import Diagnosis
from traindx.errors import InputError, UsageError
from traindx.finding import Finding

HOME = Path("traindx-out")
NAME = "diagnosis.json"
SOURCES = "sources"  # extras of a diagnosis: SHA-256 of the files that findings name, as they were examined


@dataclass(frozen=True)
class Report:
    """A diagnosis and where it was read from."""

    path: Path
    diagnosis: Diagnosis

    def finding(self, number: int) -> Finding:
        """The finding of a number, counted from 1 in the order of the report.

        Raises:
            UsageError: There is none.
        """
        findings = self.diagnosis.findings
        if not 1 <= number <= len(findings):
            raise UsageError(
                f"there is no finding {number} in {self.path}",
                expected=f"1 to {len(findings)}" if findings else "a report with findings; this one has none",
                do="list them: `traindx fix`",
            )
        return findings[number - 1]

    def knows(self, shown: str) -> bool:
        """True if the report holds the fingerprint of a file: without it nothing is written."""
        return shown in self.diagnosis.extras.get(SOURCES, {})

    def changed_since(self, file: Path, shown: str) -> bool:
        """True if a file is not as it was when it was examined (its content; its date where that is not known)."""
        known = self.diagnosis.extras.get(SOURCES, {}).get(shown)
        if known is not None:
            return bool(known != fingerprint(file))
        return file.stat().st_mtime > self.path.stat().st_mtime


def fingerprint(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read_report(path: Path) -> Report:
    """Read a report: a ``diagnosis.json`` or the folder it is in.

    Raises:
        InputError: It is not there, or not a diagnosis of this version.
    """
    file = path / NAME if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file} does not exist", expected="a folder that `traindx examine` wrote")
    try:
        return Report(file, Diagnosis.model_validate_json(file.read_text(encoding="utf-8")))
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} is not a diagnosis: {str(error).splitlines()[0]}",
            expected="a diagnosis.json written by this version of traindx",
            do="examine again",
        ) from error


def newest_report(folder: Path = HOME) -> Report:
    """The report that was written last below a folder.

    Raises:
        InputError: There is none.
    """
    found = sorted(folder.glob(f"**/{NAME}"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise InputError(
            f"there is no report below {folder}",
            expected="a run of `traindx examine`, or --from DIR",
            do="examine first",
        )
    return read_report(found[-1])
