"""Does the network earn its keep where the closed form fails? Both on disturbed sarcoma patients, against the clean F*.

    python benchmarks/fusion_robust.py --out runs/fusion-robust           trains with --preset robust first
    python benchmarks/fusion_robust.py --checkpoint runs/fusion-robust    only measures

Needs ``TRAINDX_DATA``. Whole volumes of the patients that the checkpoint was not trained on. MR is moved in three
dimensions, both images get noise, or MR ends too early, by exactly the stated sizes in directions drawn for each
patient. Then the closed form is computed from the disturbed pair, and the network fuses it; both are compared with the
closed form of the clean pair. The *last* checkpoint is measured, not the one that validation chose: validation patients
are among those measured here. The table, ``benchmarks/results/fusion-robust.md``, is written again after every patient.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from traindx.recipes.fusion import contract, inference, pictures, studies, train
from traindx.recipes.fusion.data import Prepared, derive
from traindx.recipes.fusion.disturbance import Disturbances, disturbed, of_size
from traindx.recipes.fusion.roi import region_ssim
from traindx.recipes.fusion.studies import Study
from traindx.recipes.kit.estimate import Score
from traindx.recipes.kit.run_folder import LAST

RESULTS = Path(__file__).parent / "results"
CONDITIONS = {
    "clean": Disturbances(),
    "1 mm, 1°": Disturbances(1, 1),
    "3 mm, 3°": Disturbances(3, 3),
    "5 mm, 5°": Disturbances(5, 5),
    "noise, 75 HU": Disturbances(noise=0.05),
    "30 % of MR missing": Disturbances(missing=0.3),
    "3 mm, 3°, noise, missing": Disturbances(3, 3, 0.05, 0.3),
}
CLOSED, NETWORK = "closed form", "network"
MEASURES = {
    "error": "mean absolute error over the body, % of the display range",
    "ssim": "SSIM over the body",
    "soft": "error in soft tissue that MR shows when clean",
    "bone": "error in bone",
    "detail": "mean gradient over the body, as a share of that of F*",
    "guessed": "error where MR is missing",
}
PANEL = ("CT", "MR as given", CLOSED, NETWORK, "F* of the clean pair")


def measures(fused: Tensor, clean: Prepared, missing: np.ndarray | None) -> dict[str, float]:
    """Figures of a fused volume ``(D, H, W)`` against F* of the clean pair; errors in % of the display range."""
    error = 100 * (fused - clean.fused).abs().numpy()
    body = torch.from_numpy(clean.where.body)

    def mean(region: np.ndarray) -> float:
        return float(error[region].mean()) if region.any() else float("nan")

    return {
        "error": mean(clean.where.body),
        "ssim": float(region_ssim(fused[:, None], clean.fused[:, None], body[:, None].float())),
        "soft": mean(clean.where.soft),
        "bone": mean(clean.where.bone),
        "detail": float(_gradient(fused)[body].mean() / _gradient(clean.fused)[body].mean()),
        "guessed": float("nan") if missing is None else mean(missing & clean.where.soft),
    }


def _gradient(volume: Tensor) -> Tensor:
    rows, columns = torch.gradient(volume, dim=(1, 2))
    return torch.hypot(rows, columns)


def every(study: Study, step: int) -> Study:
    """Each so many-th slice of a study."""
    kept = slice(step // 2, None, step)
    masks = (None if mask is None else mask[kept] for mask in (study.bone, study.body))
    return Study(study.id, study.hu[kept], study.mr[kept], study.lesion[kept], study.affine, *masks)


class Rows:
    """Figures by condition, way and patient."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, list[dict[str, float]]]] = {}

    def add(self, condition: str, way: str, draws: list[dict[str, float]]) -> None:
        """The mean over draws, as one patient."""
        mean = {name: float(np.mean([draw[name] for draw in draws])) for name in MEASURES}
        self.found.setdefault(condition, {}).setdefault(way, []).append(mean)

    def score(self, condition: str, way: str, name: str) -> Score:
        """One value a patient."""
        return Score(tuple(row[name] for row in self.found[condition][way]))

    def text(self) -> str:
        """The table of figures, and that of paired differences."""
        lines = ["| disturbed by | | " + " | ".join(MEASURES) + " |", "|---" * (len(MEASURES) + 2) + "|"]
        for condition, ways in self.found.items():
            for way in ways:
                cells = [self._cell(condition, way, name) for name in MEASURES]
                lines.append(f"| {condition} | {way} | " + " | ".join(cells) + " |")
        lines += [
            "",
            "## Paired differences",
            "",
            "Network less closed form, by patient; errors: below 0 is better.",
            "",
        ]
        lines += ["| disturbed by | network less | error | patients | ssim | patients |", "|---" * 6 + "|"]
        for condition, ways in self.found.items():
            for other in (way for way in ways if way != NETWORK):
                cells = []
                for name, better in (("error", -1), ("ssim", 1)):
                    mine, theirs = self.score(condition, NETWORK, name), self.score(condition, other, name)
                    ahead = sum(better * (a - b) > 0 for a, b in zip(mine.values, theirs.values, strict=True))
                    cells += [mine.estimate(theirs).text(3, "+"), f"{ahead} of {len(mine.values)} ahead"]
                lines.append(f"| {condition} | {other} | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def _cell(self, condition: str, way: str, name: str) -> str:
        score = self.score(condition, way, name)
        return "-" if all(np.isnan(score.values)) else score.estimate().text(3 if name in ("ssim", "detail") else 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="run folder of --preset robust")
    parser.add_argument("--out", type=Path, default=Path("runs/fusion-robust"))
    parser.add_argument("--steps", type=int, help="optimiser steps, instead of the preset's")
    parser.add_argument("--draws", type=int, default=2, help="directions drawn for each patient and condition")
    parser.add_argument("--every", type=int, default=1, help="measure each so many-th slice of a patient")
    parser.add_argument("--patients", type=int, help="measure only so many")
    parser.add_argument("--panel", type=Path, help="write a picture of the first patient under every condition")
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = given.checkpoint or given.out
    notes = []
    if given.checkpoint is None:
        begun = time.process_time()
        more = [] if given.steps is None else [f"--steps={given.steps}"]
        train.main(["--preset=robust", f"--out={run}", "--threads=1", "--trainer.accelerator=cpu", *more])
        notes.append(f"trained in {(time.process_time() - begun) / 60:.1f} processor minutes on one thread")
    path = run / LAST if run.is_dir() else run
    checkpoint = contract.read(path)
    model = inference.load(path)
    source, root = studies.resolve("sts", None)
    trained = set(checkpoint["patients"]["train"])
    held = [name for name in studies.names(source, root) if name not in trained][: given.patients]
    notes.append(f"{checkpoint['global_step']} optimiser steps; trained on {len(trained)} other patients")
    rows, panel, begun = Rows(), [], time.process_time()
    for number, study in enumerate(studies.load(source, root, held)):
        clean = derive(every(study, given.every))
        for place, (condition, sizes) in enumerate(CONDITIONS.items()):
            shown = one(model, study, clean, sizes, given, 1000 * number + 10 * place, rows.add, condition)
            if number == 0:
                panel.append(shown)
        write(rows, held[: number + 1], given, [*notes, f"{(time.process_time() - begun) / 60:.1f} processor minutes"])
    if given.panel is not None:
        pictures.panels(given.panel, panel, PANEL, enlarge=3)


def one(
    model: inference.Model,
    study: Study,
    clean: Prepared,
    sizes: Disturbances,
    given: argparse.Namespace,
    seed: int,
    add: Callable[[str, str, list[dict[str, float]]], None],
    condition: str,
) -> dict[str, Tensor | str]:
    """All ways on one patient under one condition; a row of the panel."""
    found: dict[str, list[dict[str, float]]] = {}
    for draw in range(given.draws if sizes else 1):
        generator = torch.Generator().manual_seed(seed + draw)
        disturbance = of_size(sizes, generator)
        given_study = disturbed(study, clean.reference[0], disturbance, generator) if sizes else study
        given_study = every(given_study, given.every)
        missing = (given_study.mr == 0) & (clean.study.mr > 0) if sizes.missing else None
        fused, _, prepared = inference.fuse_study(model, given_study)
        found.setdefault(CLOSED, []).append(measures(prepared.fused, clean, missing))
        found.setdefault(NETWORK, []).append(measures(fused, clean, missing))
        if draw == 0:
            z = int(clean.where.body.sum(axis=(1, 2)).argmax())
            images = (prepared.ct, prepared.mr, prepared.fused, fused, clean.fused)
            row = {"id": condition, **{name: image[z][None] for name, image in zip(PANEL, images, strict=True)}}
    for way, draws in found.items():
        add(condition, way, draws)
    return row


def write(rows: Rows, patients: list[str], given: argparse.Namespace, notes: list[str]) -> None:
    """The page, as far as it is known."""
    meaning = "\n".join(f"* `{name}`: {text}" for name, text in MEASURES.items())
    text = (
        f"# Fusion of disturbed pairs\n\n`python benchmarks/fusion_robust.py --checkpoint RUN --draws {given.draws}"
        f" --every {given.every}`: {len(patients)} held-out patients ({', '.join(patients)}), "
        f"{'whole volumes' if given.every == 1 else f'each {given.every}th slice'}; mean and 95 % bootstrap interval "
        "over patients. Everything is compared with F*, the closed form of "
        f"the clean pair.\n\n{rows.text()}\n\n## What is what\n\n{meaning}\n\n"
        + "\n".join(f"* {note}" for note in notes)
        + "\n"
    )
    print(text if given.patients else rows.text(), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fusion-robust.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
