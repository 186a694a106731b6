"""``traindx predict concepts``: radiographs in PNG, JPEG, TIFF or DICOM to a table and one page each."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from traindx.errors import InputError
from traindx.recipes.concepts.contract import gallery_of
from traindx.recipes.concepts.data import shown
from traindx.recipes.concepts.explanation import explain
from traindx.recipes.concepts.module import module_from
from traindx.recipes.concepts.page import write_case_page
from traindx.recipes.concepts.reading import PICTURES, for_network, read_image
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.run_folder import checkpoint_in

TABLE = "predictions.csv"


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "predict",
        "concepts",
        "Name and show concepts in radiographs (PNG, JPEG, TIFF, DICOM). Exit code 0: all done; 2: some were not read.",
        "films/ --checkpoint runs/tbx --out predicted",
    )
    kit.data(made, ()).add_argument("inputs", nargs="+", type=Path, help="files, or folders of files")
    kit.model(made, device=False)
    group = kit.results(made, "table and pages", default="predicted")
    group.add_argument("--no-pages", action="store_true", help="write the table only")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        InputError: The checkpoint cannot be used, or there is no file.
    """
    options = parser().parse_args(list(argv))
    checkpoint = checkpoint_in(options.checkpoint)
    module, learnt = module_from(checkpoint)
    gallery = gallery_of(checkpoint)
    files = list(_files(options.inputs))
    if not files:
        raise InputError("there is no radiograph to look at", expected="PNG, JPEG, TIFF or DICOM files")
    options.out.mkdir(parents=True, exist_ok=True)
    size, channels = module.settings.architecture.size, module.settings.architecture.channels
    failed = 0
    header = ["image", *module.concepts, *(f"{name} present" for name in module.concepts)]
    if "task" in learnt.trained:
        header += [f"task: {name}" for name in module.classes]
    with (options.out / TABLE).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(header)
        for path in files:
            try:
                image, network_values = for_network(read_image(path, channels), size)
            except InputError as error:
                failed += 1
                print(f"NOT READ {path.name}: {error.found}", flush=True)
                continue
            found = explain(module.network, network_values, learnt)
            row = [f"{p:.4f}" for p in found.probabilities.tolist()] + [int(v) for v in found.present.tolist()]
            table.writerow(
                [path.name, *row, *(f"{p:.4f}" for p in (found.task.tolist() if found.task is not None else []))]
            )
            said = ", ".join(
                f"{name} {p:.2f}" for name, p in zip(module.concepts, found.probabilities.tolist(), strict=True)
            )
            print(f"{path.name}: {said}", flush=True)
            if not options.no_pages:
                write_case_page(
                    options.out / f"{path.name}.html",
                    path.name,
                    shown(image[0]),
                    found,
                    concepts=module.concepts,
                    classes=module.classes,
                    thresholds=learnt.thresholds,
                    gallery=gallery,
                )
    print(f"{len(files) - failed} of {len(files)} radiographs; {options.out / TABLE}")
    return 2 if failed else 0


def _files(inputs: Sequence[Path]) -> Iterator[Path]:
    for path in inputs:
        if path.is_dir():
            for one in sorted(path.iterdir()):
                if one.is_file() and one.suffix.lower() in (*PICTURES, ".dcm", ".dicom", ""):
                    yield one
        else:
            yield path
