"""Fusion of plain CT-MR pairs: every figure of every method on patients that were held out by a stated seed.

    python benchmarks/fusion_pairs.py                                classical methods alone
    python benchmarks/fusion_pairs.py --train runs/fusion-pairs      trains on the other patients first
    python benchmarks/fusion_pairs.py --checkpoint runs/fusion-pairs only measures

Needs ``TRAINDX_DATA`` with ``harvard_ct_mr``. Three of ten patients are held out by ``--seed``; the training sees the
other seven alone, through links in a folder of its own, and chooses its checkpoint on two of them. Writes
``benchmarks/results/fusion-pairs.md`` and a panel beside it where ``--panel`` says so.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from traindx.recipes.fusion import pictures, train
from traindx.recipes.fusion.pairs import evaluate, network
from traindx.recipes.fusion.pairs.folders import Folder, folder_of_pairs, patients
from traindx.recipes.fusion.pairs.methods import COPIES, METHODS
from traindx.recipes.kit.run_folder import checkpoint_in
from traindx.recipes.kit.split import in_seeded_order

RESULTS = Path(__file__).parent / "results"
HELD_OUT = 3
REFINED = "model, refined"
PUBLISHED = """
## What is published

`README.md` of the authors' repository (github.com/Zhaozixiang1228/MMIF-CDDFuse, output of its `test_MIF.py`, 21 MRI-CT
pairs of the Whole Brain Atlas, figures of its `utils/Evaluator.py`):

| | EN | SD | SF | MI (nats) | SCD | VIF | Qabf | SSIM_sum |
|---|---|---|---|---|---|---|---|---|
| CDDFuse, trained on medical images | 4.88 | 79.17 | 38.14 | 2.61 | 1.41 | 0.61 | 0.68 | 1.34 |
| CDDFuse, trained on infrared and visible images | 4.83 | 88.59 | 33.83 | 2.24 | 1.74 | 0.50 | 0.59 | 1.31 |

Those are other pairs than the ones above, so no rank follows from reading the two tables together. Their 21 pairs were
not fused here: they may be among those that others check this recipe by. No figures of EMFusion and SwinFusion with
their protocol could be read from a source, so none are given.
"""


def split(folder: Folder, seed: int) -> tuple[list[str], list[str]]:
    """Names of training and of held-out pairs, by patient."""
    patient_of = patients(list(folder.files))
    held = set(in_seeded_order(sorted(set(patient_of.values())), seed)[:HELD_OUT])
    sides = ([name for name in folder.files if (patient_of[name] in held) is side] for side in (False, True))
    train_names, test_names = sides
    return train_names, test_names


def trained(folder: Folder, names: list[str], out: Path) -> float:
    """Train by the command line on some pairs; returns the processor minutes."""
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as below:
        for name in names:
            for modality, path in zip(folder.modalities, folder.files[name], strict=True):
                link = Path(below) / modality / path.name
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(path.resolve())
        argv = ["--source=pairs", f"--root={below}", "--preset=slices", f"--out={out}", "--threads=1"]
        train.main([*argv, "--no-verification", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"])
    return (time.process_time() - begun) / 60


def evenly(held: list[str], patient_of: Mapping[str, str], count: int) -> list[str]:
    """So many pairs, as many of each patient and evenly along each, as far as they go."""
    each = max(1, count // len({patient_of[name] for name in held}))
    chosen = []
    for patient in sorted({patient_of[name] for name in held}):
        mine = [name for name in held if patient_of[name] == patient]
        chosen += [mine[round((place + 0.5) * len(mine) / each - 0.5)] for place in range(min(each, len(mine)))]
    return chosen


def paired(found: evaluate.Measured) -> list[str]:
    """Each method against the best classical one of each figure, as a table of paired differences."""
    from traindx.recipes.fusion.pairs.figures import SELECTION

    best = {name: evaluate.best_classical(found.table, name) for name in SELECTION}
    lines = [
        "| less the best classical | " + " | ".join(f"{name} (less {best[name]})" for name in SELECTION) + " |",
        "|---" * (len(SELECTION) + 1) + "|",
    ]
    for way, row in found.table.items():
        cells = [row[name].estimate(found.table[best[name]][name]).text(3, "+") for name in SELECTION]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of pairs, instead of the one below TRAINDX_DATA")
    parser.add_argument("--train", type=Path, help="train first, into this folder")
    parser.add_argument("--checkpoint", type=Path, help="run folder of a network to measure")
    parser.add_argument("--seed", type=int, default=0, help="which patients are held out")
    parser.add_argument("--pairs", type=int, help="measure only so many held-out pairs, evenly drawn")
    parser.add_argument(
        "--refine", type=int, default=0, help="steps of descent after the network, and as many from the maximum"
    )
    parser.add_argument("--panel", type=Path, help="write pictures of four held-out pairs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    root = given.root or Path(os.environ["TRAINDX_DATA"]) / "harvard_ct_mr"
    folder = folder_of_pairs(root)
    seen, held = split(folder, given.seed)
    patient_of = patients(list(folder.files))
    notes = []
    if given.train is not None:
        minutes = trained(folder, seen, given.train)
        notes.append(f"trained in {minutes:.1f} processor minutes on one core")
    run = given.checkpoint or given.train
    ways = {}
    if run is not None:
        checkpoint = network.read(checkpoint_in(run))
        both = {patient_of[name] for name in held} & set(
            checkpoint["patients"]["train"] + checkpoint["patients"]["val"]
        )
        if both:
            raise SystemExit(f"the checkpoint has seen {', '.join(sorted(both))}: train with --seed {given.seed}")
        ways[evaluate.MODEL] = network.fuser(checkpoint)
        if given.refine:
            ways[REFINED] = network.fuser(checkpoint, refine=given.refine)
    if given.refine:
        ways[evaluate.DESCENT] = network.refined(METHODS["maximum"], given.refine)
    if run is not None:
        notes.append(f"network of step {checkpoint['global_step']}, chosen on patients {checkpoint['patients']['val']}")
    chosen = evenly(held, patient_of, given.pairs) if given.pairs else held
    begun = time.process_time()
    found = evaluate.measure(folder, chosen, {**ways, **METHODS, **COPIES}, patient_of)
    notes.append(f"measured in {(time.process_time() - begun) / 60:.1f} processor minutes")
    for way in ways:
        notes += evaluate.comparison(found, way)
    sorted_patients = ", ".join(sorted(set(found.patients)))
    text = (
        f"`python benchmarks/fusion_pairs.py {'--checkpoint RUN ' if run else ''}--seed {given.seed} --pairs "
        f"{len(chosen)}{f' --refine {given.refine}' if given.refine else ''}`: "
        f"{len(chosen)} held-out pairs of patients "
        f"{sorted_patients}; the other {len(seen)} pairs are of other patients. Mean and 95 % bootstrap interval over "
        f"pairs; pairs of one patient are alike, so intervals over patients would be wider. {100 * found.air:.0f} % of "
        f"the pixels are air. A is {folder.modalities[0]}, B {folder.modalities[1]}; what each figure means, and where "
        "conventions differ, stands in `recipes/fusion/pairs/figures.py`. Copies are no fusion, and get no rank.\n\n"
        f"{evaluate.text(found.table)}\n\n## Paired differences\n\n"
        + "\n".join(paired(found))
        + "\n\n"
        + "\n".join(f"* {note}" for note in notes)
        + "\n"
        + PUBLISHED
    )
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fusion-pairs.md").write_text(text, encoding="utf-8")
    if given.panel is not None:
        rows = []
        for name in chosen[:: max(1, len(chosen) // 4)][:4]:
            a, b = folder.read(name).tensors
            made = {way: fuse(a, b)[0] for way, fuse in {**METHODS, **ways}.items()}
            rows.append({"id": name, "A": a[0], "B": b[0], **made})
        pictures.panels(given.panel, rows, tuple(rows[0])[1:], enlarge=1)


if __name__ == "__main__":
    main()
