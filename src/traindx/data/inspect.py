"""One file in, one report out: the only place that decides which reader a file goes to. It never raises."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from traindx.data import kinds, read_arrays, read_dicom, read_images, read_nifti
from traindx.data.facts import Report, row
from traindx.data.layout.naming import Naming
from traindx.data.names import Names
from traindx.data.reading import IgnoredError, NotAnImageError, UnreadableError, reason_of

READERS = {
    "dicom": read_dicom.read,
    "nifti": read_nifti.read,
    "image": read_images.read,
    "array": read_arrays.read,
}


def inspect(
    root: str, name: str, histograms: dict[str, Any], *, root_name: str = "", naming: Naming | None = None
) -> Report:
    """Look at one file.

    Args:
        root: The data folder.
        name: Path of the file relative to it.
        histograms: Grey-value histograms by set, to which those of this file are added.
        root_name: Name of the data folder, the weakest hint on role and modality.
        naming: Roles that a layout or the user gives.

    Returns:
        Its report; whatever goes wrong is in ``reason``.
    """
    path, called = (os.path.join(root, name), name) if name != "." else (root, os.path.basename(root))
    report = Report(name, "read")
    try:
        report.size = os.path.getsize(path)
        report.kind = _kind(path, called, report.size)
        if report.kind in ("table", "text"):
            report.status = "table" if report.kind == "table" else "ignored"
            return report
        for facts in READERS[report.kind](path, name, Names(called, root_name, naming)):
            if facts.histogram is not None:
                total = histograms.get(facts.set_name)
                counts = np.asarray(facts.histogram)
                histograms[facts.set_name] = counts if total is None else total + counts
            report.rows.append(row(facts))
    except UnreadableError as error:
        report.status, report.reason = "unreadable", str(error)
    except NotAnImageError as error:
        report.status, report.reason = "not-image", str(error)
    except IgnoredError:
        report.status = "ignored"
    except FileNotFoundError:
        known = kinds.by_suffix(called) in READERS
        report.status, report.reason = ("unreadable", "a link to nothing") if known else ("ignored", "")
    except MemoryError:
        report.status, report.reason = "unreadable", "does not fit into memory"
    except Exception as error:  # a reader that fails on a file is a fact about the file
        report.status, report.reason = "unreadable", f"{type(error).__name__}: {reason_of(error)}"
    return report


def _kind(path: str, name: str, size: int) -> str:
    if size == 0:
        if kinds.by_suffix(name) in READERS:
            raise UnreadableError("the file is empty")
        raise IgnoredError
    kind = kinds.by_suffix(name) or kinds.by_content(path)
    if not kind:
        raise IgnoredError
    if kind in READERS and kind not in ("dicom", "array") and kinds.by_content(path) == "dicom":
        return "dicom"
    return kind
