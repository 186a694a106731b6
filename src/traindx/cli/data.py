"""``traindx data``: verify images, masks, labels, boxes and splits before any training."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traindx.cli import session

if TYPE_CHECKING:
    from traindx.cli.session import Watch
    from traindx.diagnosis import Diagnosis

EXAMPLES = (
    "traindx data .",
    "traindx data . --task segmentation --label-values 0,1 --ignore-value 2 --strict",
    "traindx data . --images 'scans/{case}.png' --masks 'seg/{case}_s.png'",
    "traindx data . --fix-list mend.csv",
    "traindx data . --labels labels.csv --boxes boxes.csv --splits splits.csv --map-size 14 --out report",
)


def data(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Folder of DICOM, NIfTI, NPZ, PNG/TIFF and CSV, or a file")
    ],
    labels: Annotated[
        list[Path] | None, typer.Option(metavar="CSV", help="Table of labels: image names and columns; repeatable")
    ] = None,
    boxes: Annotated[
        list[Path] | None, typer.Option(metavar="CSV", help="Table of boxes: x0, y0, x1, y1 or the like; repeatable")
    ] = None,
    splits: Annotated[
        list[Path] | None, typer.Option(metavar="CSV", help="Table of splits: images, patients or series; repeatable")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it is for: classification, detection, segmentation, concepts, ..."),
    ] = None,
    map_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Cells along a side of the map that boxes are drawn on (14)")
    ] = None,
    label_values: Annotated[
        str | None, typer.Option(metavar="VALUES", help="Values that masks may hold, such as 0,1")
    ] = None,
    ignore_value: Annotated[
        float | None, typer.Option(metavar="VALUE", help="The value in masks that means: not labelled")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="How files belong together, where it is not recognised; or none")
    ] = None,
    images: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Which files are images: 'scans/{case}.png'; repeatable")
    ] = None,
    masks: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Which are masks: 'seg/{case}_s.png'; repeatable")
    ] = None,
    others: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Pictures that are neither; repeatable")
    ] = None,
    fix_list: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Write the files and rows to mend, one a line, to this file")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for anything beyond a note, suspected or not (for CI)")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Facts, pictures and reports (traindx-out/data-PATH by default)")
    ] = None,
    identifiers: Annotated[
        bool, typer.Option("--identifiers", help="Write patient and study identifiers as they are, not as tokens")
    ] = False,
    share: Annotated[
        bool, typer.Option("--share", help="Write a second report to hand on: no names, paths or pictures (DIR/share)")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the diagnosis as JSON on stdout, and nothing else")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Processes that read files (the cores by default)")
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(metavar="CODES", help="Only these rules: D108,D112; repeatable")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="CODES", help="Leave these rules out; repeatable")] = None,
) -> None:
    """Verify the data of a training: images, masks, labels, boxes and splits, before anything is trained.

    Exit code: 0 nothing above suspected, 1 findings (unreadable files among them), 2 wrong usage or input, 3 no image
    could be read.
    """
    from traindx import config
    from traindx.data.store import PARTIAL, STORE
    from traindx.errors import UsageError
    from traindx.rules import catalogue

    if not path.exists():
        raise UsageError(f"{path} does not exist", expected="a folder with images, or one file")
    settings = config.load(Path.cwd())
    rules = catalogue()
    chosen, left_out = _words(select) or settings.select, _words(ignore) or settings.ignore
    selected = config.resolve_codes(chosen, rules) if chosen else None
    ignored = config.resolve_codes(left_out, rules) if left_out else None
    thresholds = config.check_thresholds(settings.thresholds, rules)
    values = _values(label_values)
    label = path.resolve().name or "root"
    directory = out or session.default_directory(f"data-{label}", unfinished=STORE + PARTIAL)
    command = shlex.join(["traindx", *(context.obj or {}).get("argv", ["data", str(path)])])
    seen: list[Diagnosis] = []

    def work(watch: Watch) -> Diagnosis:
        from traindx.data import verify

        watch.begin(label, directory)
        diagnosis = verify(
            path,
            labels=labels or (),
            boxes=boxes or (),
            splits=splits or (),
            task=task,
            map_size=map_size,
            label_values=values,
            ignore_value=ignore_value,
            layout=layout,
            images=images or (),
            masks=masks or (),
            others=others or (),
            out=directory,
            show_identifiers=identifiers,
            workers=workers,
            select=selected,
            ignore=ignored,
            thresholds=thresholds or None,
            progress=watch.listener,
            command=command,
        )
        seen.append(diagnosis)
        return diagnosis

    code = session.run(work, label=label, out=directory, as_json=as_json, command=command)
    if fix_list is not None and seen:
        from traindx.data.fix_list import write

        count = write(seen[-1], fix_list)
        typer.echo(f"{count} files and rows to mend: {fix_list}", err=True)
    if share and seen:
        _share(seen[0], directory)
    if strict and code == 0 and any(_counts(diagnosis) for diagnosis in seen):
        code = 1
    raise typer.Exit(code)


def _share(diagnosis: Diagnosis, directory: Path) -> None:
    """A report without names, paths and pictures, in a folder of its own."""
    import sys

    from traindx import report
    from traindx.data.sharing import shareable
    from traindx.private import make_private

    folder = directory / "share"
    make_private(folder)
    report.write(shareable(diagnosis, directory), folder, root=folder)
    print(f"to hand on: {folder / 'report.html'}", file=sys.stderr)


def _counts(diagnosis: Diagnosis) -> bool:
    """True if a strict reader objects: any finding beyond a note."""
    from traindx.finding import Severity

    return any(finding.severity is not Severity.NOTE for finding in diagnosis.findings)


def _values(text: str | None) -> tuple[float, ...]:
    """``0,1,2`` as numbers."""
    from traindx.errors import UsageError

    try:
        return tuple(float(part) for part in (text or "").replace(",", " ").split())
    except ValueError:
        raise UsageError(f"--label-values {text!r} cannot be read", expected="numbers such as 0,1,2") from None


def _words(given: list[str] | None) -> tuple[str, ...]:
    """Codes from options that are repeated, separated by commas, or both."""
    return tuple(code for text in given or () for code in text.replace(",", " ").split())
