"""Verification of a data folder before any training: read everything once, audit, judge, draw."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from traindx import pipeline
from traindx.core.frames import raised_at
from traindx.data import audit, join, pictures, pool, walk
from traindx.data.audit.context import AuditRoom
from traindx.data.facts import COLUMNS, Report
from traindx.data.layout import agree, lines, sidecars
from traindx.data.layout.conventions import check_layout, recognised
from traindx.data.layout.naming import naming
from traindx.data.layout.survey import survey
from traindx.data.link import link
from traindx.data.options import Options, task_called
from traindx.data.privacy import Identities
from traindx.data.reading import printable, reason_of
from traindx.data.scope import DataScope
from traindx.data.store import STORE, Store
from traindx.data.tables import Table, join_key, relative, understand
from traindx.diagnosis import Diagnosis, ranked
from traindx.errors import InputError, TraindxError, UsageError
from traindx.evidence import Curve, Evidence, InOrder, NotExamined, Picture
from traindx.evidence.dataset import FileCensus, LayoutFacts
from traindx.extras import require
from traindx.machine import usable_cores
from traindx.private import make_private
from traindx.progress import Listener, Progress, silent
from traindx.whole_files import write_whole


def verify(
    path: str | Path,
    *,
    labels: str | Path | Iterable[str | Path] = (),
    boxes: str | Path | Iterable[str | Path] = (),
    splits: str | Path | Iterable[str | Path] = (),
    task: str | None = None,
    map_size: int | None = None,
    label_values: Iterable[float] = (),
    ignore_value: float | None = None,
    layout: str | None = None,
    images: str | Iterable[str] = (),
    masks: str | Iterable[str] = (),
    others: str | Iterable[str] = (),
    out: str | Path | None = None,
    show_identifiers: bool = False,
    workers: int | None = None,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    progress: Listener | None = None,
    command: str = "",
) -> Diagnosis:
    """Verify the data of a training: images, masks, label tables, boxes and splits.

    Args:
        path: Folder (or one file) of DICOM, NIfTI, NPZ/NPY, PNG/JPEG/TIFF and CSV. Tables found in it are used for
            what they plainly hold.
        labels: Label tables (CSV with a column of image names and one or more columns of labels).
        boxes: Box tables (columns x0, y0, x1, y1 or the like; pixels, or relative to the image).
        splits: Split tables (columns of image, patient or series names, and of splits).
        task: What the data is for, for example ``"segmentation"`` (:data:`traindx.data.options.TASKS`).
        map_size: Cells along each side of the map that the network draws boxes on; 14 where it is not given.
        label_values: Values that masks may hold.
        ignore_value: The value that means "not labelled".
        layout: The layout, where it should not be recognised
            (:data:`traindx.data.layout.conventions.CONVENTIONS`); ``"none"`` for no convention at all.
        images: Patterns of images, such as ``"scans/{case}.png"``; what stands for ``{case}`` pairs them with masks.
        masks: Patterns of masks, such as ``"seg/{case}_s.png"``.
        others: Patterns of pictures that are neither.
        out: Directory for ``diagnosis.json``, ``evidence.jsonl``, ``pictures/`` and ``files.sqlite`` (the facts of
            every file); None keeps the records in memory and nothing on disk.
        show_identifiers: Write patient and study identifiers as they are, in place of tokens such as
            ``patient-5e0c1a7b`` (:mod:`traindx.data.privacy`).
        workers: Processes that read files; as many as there are cores (at most 8) by default, 0 for this process alone.
        select: Rule codes or prefixes to apply.
        ignore: Rule codes or prefixes to leave out.
        thresholds: ``{code: {threshold: value}}`` overrides.
        progress: Called with :class:`~traindx.progress.Progress` while files are read.
        command: The command line, for provenance.

    Returns:
        The diagnosis. A folder without one readable image gives the outcome *not enough seen*.

    Raises:
        UsageError: The path does not exist, there is no such task, or the extra ``data`` is not installed.
        InputError: A table that was given cannot be used.
    """
    started, when = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    root = os.fspath(path)
    if not os.path.exists(root):
        raise UsageError(f"{root} does not exist", expected="a folder with images, or one file")
    require("data", "verifying a data folder")
    options = Options(
        labels=_paths(labels),
        boxes=_paths(boxes),
        splits=_paths(splits),
        task=task_called(task),
        map_size=map_size,
        label_values=tuple(float(value) for value in label_values),
        ignore_value=ignore_value,
        layout=layout or "",
        images=_patterns(images),
        masks=_patterns(masks),
        others=_patterns(others),
    )
    check_layout(options.layout)
    naming(None, options.images, options.masks, options.others)  # a pattern that cannot be read ends it here
    chosen = pipeline.select(select, ignore)
    given = _given_tables(options, root)
    directory = Path(out) if out is not None else None
    if directory is not None:
        make_private(directory)
        (directory / "evidence.jsonl").unlink(missing_ok=True)
        for old in (directory / "pictures").glob("*.npy"):  # of an earlier run
            old.unlink()
    store = Store(directory / STORE if directory is not None else None, _signature(root, options))
    identities = Identities()
    evidence = Evidence(directory, None if show_identifiers else identities.plain)
    try:
        ctx = AuditRoom(store, evidence, options, given, root, identities=identities)
        _read(ctx, cores() if workers is None else workers, progress or silent)
        errors = _examine(ctx, progress or silent)
        lines.write(ctx)
        if directory is not None:
            pictures.draw(ctx)
        judged = pipeline.judge(evidence, DataScope.of(evidence), chosen=chosen, thresholds=thresholds)
        diagnosis = _diagnosis(root, evidence, judged, errors)
        made = pipeline.provenance(command, when, time.monotonic() - started)
        diagnosis = diagnosis.model_copy(update={"provenance": made})
        if not show_identifiers:
            diagnosis = identities.model(diagnosis)
            identities.clean(store)
        store.forget()
        store.keep()
        if directory is not None:
            write_whole(directory / "diagnosis.json", diagnosis.model_dump_json(indent=2))
        return diagnosis
    except sqlite3.OperationalError as error:
        raise TraindxError(f"the store of facts cannot be written: {error}", do="make room, or give --out") from error
    finally:
        evidence.close()
        store.close()


def _signature(root: str, options: Options) -> str:
    """What a killed run must have in common with this one so that its facts are of use."""
    from traindx.version import __version__

    return json.dumps(
        [__version__, os.path.realpath(root), COLUMNS, options.layout, options.images, options.masks, options.others]
    )


def cores() -> int:
    """Processes by default: the cores this process may use, at most 8 (beyond, the disk is the limit)."""
    usable = usable_cores()
    return min(8, usable)


def _paths(given: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    return (Path(given),) if isinstance(given, str | Path) else tuple(Path(item) for item in given)


def _patterns(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _given_tables(options: Options, root: str) -> tuple[Table, ...]:
    tables: dict[Path, Table] = {}
    for declared, paths in (("labels", options.labels), ("boxes", options.boxes), ("splits", options.splits)):
        for path in paths:
            if not path.is_file():
                raise InputError(f"{path} does not exist", expected=f"a CSV table of {declared}")
            name = relative(path, root)
            known = next((table for table in tables.values() if table.name == name), None)
            if known is not None and declared == "splits":
                understand(path, name, declared)  # it must have a split column; the table itself is there already
                continue
            tables[path] = understand(path, name, declared)
    return tuple(tables.values())


def _read(ctx: AuditRoom, workers: int, listen: Listener) -> None:
    """Every file once, in workers; facts into the store, tables found on the way understood."""
    begun = time.monotonic()
    seen = survey(walk.walk(ctx.root))
    files, size = seen.files, seen.bytes
    ctx.convention = None if ctx.options.layout == "none" else recognised(seen.names, ctx.options.layout)
    roles = naming(ctx.convention, ctx.options.images, ctx.options.masks, ctx.options.others)
    workers = 0 if files < 8 else min(workers, files)  # a handful of files is read before a process is up
    histograms: dict[str, Any] = {name: np.asarray(counts) for name, counts in ctx.store.histograms().items()}
    done = ctx.store.count("SELECT COUNT(*) FROM files")
    weight = ctx.store.count("SELECT SUM(size) FROM files")
    before = weight
    if done:
        ctx.notes["resumed"] = done
        ctx.identities.learn((str(kind), str(value)) for kind, value in ctx.store.rows("SELECT * FROM identifiers"))
    found = [str(path) for (path,) in ctx.store.rows("SELECT path FROM files WHERE status = 'table'")]
    trouble: list[Report] = []
    portions = walk.chunks(
        ctx.root,
        lambda path, status, reason: trouble.append(Report(printable(path), status, reason=reason)),
        partial(_known, ctx) if ctx.store.resumed else None,
    )
    for reports, counted in pool.inspect_all(ctx.root, portions, workers, roles):
        ctx.store.add(reports)
        for report in reports:
            if report.identifiers:
                ctx.identities.learn(report.identifiers)
                ctx.store.note(report.identifiers)
        found += [report.path for report in reports if report.status == "table"]
        for key, counts in counted.items():
            histograms[key] = np.asarray(counts) + histograms.get(key, 0)
        ctx.store.checkpoint(histograms)
        done += len(reports)
        weight += sum(report.size for report in reports)
        elapsed = time.monotonic() - begun
        share = max((weight - before) / max(size - before, 1), 1e-9)
        left = elapsed * (1 - share) / share if elapsed > 0.5 and share < 1 else None
        listen(Progress("reading", f"{done} of {files} files", done, files, left))
    ctx.store.add(trouble)
    ctx.store.checkpoint(histograms, now=True)
    ctx.notes["histograms"] = histograms
    ctx.notes["seconds"] = time.monotonic() - begun
    ctx.store.place()
    ctx.store.index()
    agree.settle(ctx)
    _tables(ctx, found)


def _known(ctx: AuditRoom, name: str, size: int) -> bool:
    """True if a run that was ended looked at this file, and it is the same still."""
    try:
        unchanged = os.stat(os.path.join(ctx.root, name)).st_mtime < ctx.store.since
    except OSError:
        return False
    return unchanged and ctx.store.knows(printable(name), size)


def _tables(ctx: AuditRoom, found: list[str]) -> None:
    """Tables that lie in the folder, unless they were given by name."""
    given = {os.path.realpath(table.path) for table in ctx.tables}
    extra: list[Table] = []
    for name in sorted(found):
        path = Path(ctx.root) if name == "." else Path(ctx.root, name)
        if os.path.realpath(path) in given:
            continue
        try:
            extra.append(understand(path, name))
        except InputError as error:
            ctx.skip(f"table {name}", error.found)
        except Exception as error:  # a file called .csv that is anything
            ctx.skip(f"table {name}", f"cannot be read: {type(error).__name__}: {reason_of(error)}")
    texts = [str(path) for (path,) in ctx.store.rows("SELECT path FROM files WHERE kind = 'text' AND path <> '.'")]
    if os.path.isdir(ctx.root):
        try:
            extra += sidecars.box_tables(ctx.root, texts)
        except Exception as error:  # JSON, XML or text that is anything
            ctx.skip("boxes in files beside the images", f"cannot be read: {type(error).__name__}: {reason_of(error)}")
    ctx.tables = (*ctx.tables, *(table for table in extra if table.columns))
    ctx.declared_labels = _declared_labels(_described(ctx))
    for table in ctx.tables:
        link(ctx.store, table)
    join.fill(ctx.store, ctx.tables)
    if os.path.isdir(ctx.root):
        listed = sidecars.split_lists(ctx.root, texts)
        ctx.store.fill("splits", ((source, join_key(name), split) for source, name, split in listed))
    ctx.store.index()
    join.resolve(ctx.store)


def _described(ctx: AuditRoom) -> str:
    """The folder of the only ``dataset.json``, in the data folder or below it."""
    query = "SELECT path FROM files WHERE path = 'dataset.json' OR path LIKE '%/dataset.json' LIMIT 2"
    found = [str(path) for (path,) in ctx.store.rows(query)]
    return os.path.join(ctx.root, os.path.dirname(found[0])) if len(found) == 1 else ctx.root


def _declared_labels(root: str) -> tuple[float, ...]:
    """Label values of a ``dataset.json`` of the Medical Segmentation Decathlon or of nnU-Net."""
    try:
        with open(os.path.join(root, "dataset.json"), encoding="utf-8") as stream:
            labels = json.load(stream).get("labels", {})
    except (OSError, ValueError, AttributeError, RecursionError):
        return ()
    values: set[float] = set()
    for pair in labels.items() if isinstance(labels, dict) else ():
        for side in pair:  # the Decathlon writes {"0": "background"}, nnU-Net {"background": 0}
            for entry in side if isinstance(side, list) else [side]:
                try:
                    values.add(float(entry))
                except (TypeError, ValueError):
                    continue
    return tuple(sorted(values))


def _examine(ctx: AuditRoom, listen: Listener) -> list[str]:
    """Run the audits; one that fails is listed and never stops the others."""
    errors: list[str] = []
    steps = audit.catalogue()
    for number, (title, step) in enumerate(steps):
        listen(Progress("auditing", title, number, len(steps)))
        try:
            step(ctx)
        except TraindxError:
            raise
        except Exception as error:
            place = raised_at(error)
            reason = f"the audit stopped: {type(error).__name__}: {error}" + (f" at {place}" if place else "")
            errors.append(f"{title}: {reason}")
            ctx.skip(title, reason)
    listen(Progress("auditing", "done", len(steps), len(steps)))
    return errors


def _diagnosis(root: str, evidence: Evidence, judged: pipeline.RuleResults, errors: list[str]) -> Diagnosis:
    census, understood = evidence.last(FileCensus), evidence.last(LayoutFacts)
    extras: dict[str, Any] = {}
    if census is not None:
        extras["census"] = census.model_dump(mode="json", exclude={"where", "step"})
    if understood is not None:
        extras["layout"] = understood.model_dump(mode="json", exclude={"where", "step"})
    return Diagnosis(
        case=os.path.basename(os.path.abspath(root)),
        outcome=pipeline.outcome(judged.findings, enough=judged.coverage.enough),
        findings=ranked(judged.findings),
        healthy=(*evidence.of(InOrder), *judged.in_order),
        not_examined=pipeline.once((*evidence.of(NotExamined), *judged.not_examined)),
        coverage=judged.coverage,
        pictures=tuple(evidence.of(Picture)),
        curves=tuple(evidence.of(Curve)),
        errors=(*errors, *judged.errors),
        extras=extras,
    )
