"""One file in, one report out: the only place that decides which reader a file goes to. It never raises."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from traindx.data import (
    archives,
    kinds,
    read_arrays,
    read_containers,
    read_dicom,
    read_images,
    read_nifti,
    read_volumes,
)
from traindx.data.facts import Report, row
from traindx.data.layout.naming import Naming
from traindx.data.names import Names
from traindx.data.reading import IgnoredError, NotAnImageError, NotReadError, UnreadableError, printable, reason_of

READERS = {
    "dicom": read_dicom.read,
    "nifti": read_nifti.read,
    "image": read_images.read,
    "array": read_arrays.read,
    "volume": read_volumes.read,
    "container": read_containers.read,
    "slide": read_images.read_slide,
}


def inspect_file(
    root: str, name: str, histograms: dict[str, Any], *, root_name: str = "", naming: Naming | None = None
) -> list[Report]:
    """Look at one file, or at every file in an archive: see :func:`inspect`."""
    report = inspect(root, name, histograms, root_name=root_name, naming=naming)
    if report.kind != "zip" or report.reason:
        return [report]
    path = os.path.join(root, name) if name != "." else root
    reports: list[Report] = []
    try:
        for folder, member, problem in archives.members(path, report.size):
            if problem:
                reports.append(Report(f"{report.path}/{printable(member)}", "unreadable", reason=problem))
                continue
            inner = inspect(folder, member, histograms, root_name=root_name, naming=naming)
            inner.path = f"{report.path}/{inner.path}"
            inner.rows = [(f"{report.path}/{values[0]}", *values[1:]) for values in inner.rows]
            reports.append(inner)
        report.status = "archive"
    except (UnreadableError, NotReadError) as error:
        report.status = "unreadable" if isinstance(error, UnreadableError) else "not-read"
        report.reason = str(error)
    except Exception as error:
        report.status, report.reason = "unreadable", f"{type(error).__name__}: {reason_of(error)}"
    return [report, *reports]


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
    report = Report(printable(name), "read")
    try:
        report.size = os.path.getsize(path)
        report.kind = _kind(path, called, report.size)
        if report.kind in ("table", "text", "zip"):
            report.status = {"table": "table", "text": "ignored", "zip": "archive"}[report.kind]
            return report
        names = Names(printable(called), root_name, naming)
        try:
            _read(report, path, names, histograms)
        except UnreadableError:
            content = "" if report.rows else kinds.by_content(path)
            if content in ("", report.kind) or content not in READERS:
                raise
            report.kind = content  # its name says something else than it is
            _read(report, path, names, histograms)
    except UnreadableError as error:
        report.status, report.reason = "unreadable", kinds.instead(path) or str(error)
    except NotReadError as error:
        accident = kinds.instead(path)
        report.status, report.reason = ("unreadable", accident) if accident else ("not-read", str(error))
    except NotAnImageError as error:
        report.status, report.reason = "not-image", str(error)
    except IgnoredError:
        report.status = "ignored"
    except FileNotFoundError:
        known = kinds.by_suffix(called) in READERS
        gone = "a link to nothing" if os.path.islink(path) else "gone: it vanished while the folder was read"
        report.status, report.reason = ("unreadable", gone + _annex(path)) if known else ("ignored", "")
    except MemoryError:
        report.status, report.reason = "unreadable", "does not fit into memory"
    except Exception as error:  # a reader that fails on a file is a fact about the file
        report.status, report.reason = "unreadable", f"{type(error).__name__}: {reason_of(error)}"
    if report.status != "read":
        report.rows = []
    return report


def _read(report: Report, path: str, names: Names, histograms: dict[str, Any]) -> None:
    """Rows of one file; its histograms count only once all of it was read."""
    counted: list[tuple[str, Any]] = []
    for facts in READERS[report.kind](path, report.path, names):
        if facts.histogram is not None:
            counted.append((facts.set_name, np.asarray(facts.histogram)))
        report.identifiers.update(facts.identifiers)
        report.rows.append(row(facts))
    for name, counts in counted:
        histograms[name] = counts if name not in histograms else histograms[name] + counts


def _annex(path: str) -> str:
    """What to do about a dangling link of git-annex."""
    try:
        return " (git-annex: `git annex get` fetches it)" if "annex/objects" in os.readlink(path) else ""
    except OSError:
        return ""


def _kind(path: str, name: str, size: int) -> str:
    suffix = kinds.by_suffix(name)
    if size == 0:
        if suffix in READERS:
            raise UnreadableError("the file is empty")
        raise IgnoredError
    kind = suffix or kinds.by_content(path)
    if not kind:
        raise IgnoredError
    if kind in ("nifti", "image") and kinds.by_content(path) == "dicom":
        return "dicom"
    return kind
