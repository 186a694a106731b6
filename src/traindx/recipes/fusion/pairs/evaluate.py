"""``traindx evaluate fusion --source pairs``: the field's figures of a network beside those of classical methods."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from traindx.errors import InputError, UsageError
from traindx.recipes.fusion import scores
from traindx.recipes.fusion.baselines import Fusion
from traindx.recipes.fusion.pairs import figures, network
from traindx.recipes.fusion.pairs.folders import Folder, folder_of_pairs, patients
from traindx.recipes.fusion.pairs.images import Range
from traindx.recipes.fusion.pairs.methods import COPIES, METHODS
from traindx.recipes.fusion.pairs.predict import ranges_of
from traindx.recipes.kit.estimate import Score, Table, as_json, write_scores
from traindx.recipes.kit.run_folder import checkpoint_in

MODEL = "model"
DESCENT = "descent from the maximum"


@dataclass(frozen=True)
class Measured:
    """Figures of several methods on the same pairs.

    Attributes:
        names: Names of the pairs.
        patients: Patient of each.
        table: Scores by method and figure, one value a pair.
        air: Mean share of pixels that are black in both images.
    """

    names: tuple[str, ...]
    patients: tuple[str, ...]
    table: Table
    air: float


def run(options: argparse.Namespace) -> int:
    """Measure, and print the table or the scores of every pair as JSON.

    Raises:
        UsageError: No folder is given, or options that are for CT and MR in HU.
        InputError: The checkpoint or the folder cannot be used, or pairs of patients that were trained on would be
            evaluated.
    """
    if options.root is None:
        raise UsageError("no folder of pairs is given", expected="--root with one folder for each of two modalities")
    folder = folder_of_pairs(options.root)
    ways: dict[str, Fusion] = {}
    patient_of = patients(list(folder.files))
    chosen = list(folder.files)
    if options.checkpoint is not None:
        checkpoint = network.read(checkpoint_in(options.checkpoint))
        patient_of = patients(list(folder.files), checkpoint["patient_pattern"])
        chosen = held_out(checkpoint, patient_of, everyone=options.cases == "all")
        ways[MODEL] = network.fuser(checkpoint, refine=options.refine)
    elif options.refine:
        ways[DESCENT] = network.refined(METHODS["maximum"], options.refine)
    begun = time.perf_counter()
    found = measure(folder, chosen, {**ways, **METHODS, **COPIES}, patient_of, ranges_of(options))
    write_scores(options.out, found.table)
    if options.json:
        print(as_json(found.table))
        return 0
    print(text(found.table))
    print(
        f"{len(found.names)} pairs of {len(set(found.patients))} patients, {100 * found.air:.0f} % air; mean and 95 % "
        f"bootstrap interval over pairs; {time.perf_counter() - begun:.0f} s"
    )
    for way in ways:
        print("\n".join(comparison(found, way)))
    return 0


def held_out(checkpoint: Mapping[str, Any], patient_of: Mapping[str, str], *, everyone: bool) -> list[str]:
    """Pairs of patients that a checkpoint was not trained on.

    Args:
        checkpoint: Of a run on pairs.
        patient_of: Patient of each pair of the folder.
        everyone: Take all pairs, which must be of other patients, instead of those that the run held out.

    Raises:
        InputError: None is left, or one of them was trained on.
    """
    trained, held = (set(checkpoint["patients"][side]) for side in ("train", "val"))
    chosen = [name for name, patient in patient_of.items() if everyone or patient in held]
    both = sorted({patient_of[name] for name in chosen} & trained)
    if both:
        raise InputError(f"the checkpoint was trained on {', '.join(both)}", expected="patients it has not seen")
    if not chosen:
        raise InputError(
            "none of the patients that the checkpoint held out is there",
            expected=", ".join(sorted(held)),
            do="pass --cases all to evaluate other patients",
        )
    return chosen


def measure(
    folder: Folder,
    chosen: Sequence[str],
    ways: Mapping[str, Fusion],
    patient_of: Mapping[str, str],
    ranges: tuple[Range | None, Range | None] = (None, None),
) -> Measured:
    """All figures of all methods on some pairs of a folder."""
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    empty = []
    for name in chosen:
        a, b = folder.read(name, ranges).tensors
        empty.append(figures.air(a, b))
        for way, fuse in ways.items():
            rows[way].append(figures.figures(a, b, fuse(a, b)))
    table = {
        way: {name: Score(tuple(row[name] for row in found)) for name in figures.NAMES} for way, found in rows.items()
    }
    return Measured(tuple(chosen), tuple(patient_of[name] for name in chosen), table, float(np.mean(empty)))


def text(table: Table) -> str:
    """The figures as a Markdown table, and the mean rank over Qabf, VIF and SSIM among what is no copy of an image."""
    ranked = {way: row for way, row in table.items() if way not in COPIES}
    ranks = scores.mean_rank(ranked, figures.SELECTION)
    lines = ["| | " + " | ".join(figures.NAMES) + " | mean rank |", "|---" * (len(figures.NAMES) + 2) + "|"]
    for way, row in table.items():
        cells = [row[name].estimate().text(1 if name in ("SD", "SF", "AG") else 3) for name in figures.NAMES]
        rank = f"{ranks[way]:.1f}" if way in ranks else "-"
        lines.append(f"| {way} | " + " | ".join(cells) + f" | {rank} |")
    return "\n".join(lines)


def best_classical(table: Table, name: str) -> str:
    """The classical method with the highest mean of a figure."""
    return max(METHODS, key=lambda way: table[way][name].mean)


def comparison(found: Measured, way: str = MODEL) -> list[str]:
    """A method against the best of the classical ones in each of Qabf, VIF and SSIM, paired by image."""
    lines = []
    for name in figures.SELECTION:
        best = best_classical(found.table, name)
        mine, theirs = found.table[way][name], found.table[best][name]
        gains = np.array(mine.values) - np.array(theirs.values)
        by_patient = [gains[np.array(found.patients) == patient].mean() for patient in sorted(set(found.patients))]
        lines.append(
            f"{name}: {way} less {best}, the best classical method: {mine.estimate(theirs).text(4, '+')}; ahead on "
            f"{int((gains > 0).sum())} of {len(gains)} pairs, in the mean of {sum(gain > 0 for gain in by_patient)} of "
            f"{len(by_patient)} patients"
        )
    return lines
