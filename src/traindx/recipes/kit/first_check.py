"""The first check of every recipe: its data, verified before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from traindx.diagnosis import Diagnosis
from traindx.errors import InputError
from traindx.finding import Standing

FOLDER = "data"
"""Where the verification of a run is kept, inside the folder of the run."""

_SHOWN = 5


def first_check(verify: Callable[[Path], Diagnosis], out: Path, *, strict: bool) -> Diagnosis:
    """Verify the data of a run, keep the evidence beside it, and say what was found.

    Args:
        verify: Called with the folder that evidence and ``diagnosis.json`` go to.
        out: Folder of the run; the verification is kept in its :data:`FOLDER`.
        strict: Refuse data with a demonstrated fault. Without, it is said and the training goes on.

    Raises:
        InputError: ``strict``, and a fault was demonstrated; the first is named.
    """
    diagnosis = verify(out / FOLDER)
    count = len(diagnosis.findings)
    kept = out / FOLDER / "diagnosis.json"
    print(f"data: {count or 'no'} finding{'s' * (count != 1)} ({kept})", flush=True)
    for finding in diagnosis.findings[:_SHOWN]:
        print(f"  {finding.code} {finding.standing.value}: {finding.message}", flush=True)
    if count > _SHOWN:
        print(f"  and {count - _SHOWN} more", flush=True)
    shown = [finding for finding in diagnosis.findings if finding.standing.rank > Standing.SUSPECTED.rank]
    if strict and shown:
        raise InputError(
            f"the data has {len(shown)} demonstrated fault{'s' * (len(shown) > 1)}: {shown[0].code} {shown[0].message}",
            expected="data without one",
            do="fix it, or train without --strict",
        )
    return diagnosis
