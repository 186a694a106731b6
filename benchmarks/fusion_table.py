"""The fusion recipe on sarcoma patients: train (or take a checkpoint), distil, and write every figure beside baselines.

    python benchmarks/fusion_table.py --out runs/fusion --distil 100 --slices 3    trains with --preset slices first
    python benchmarks/fusion_table.py --checkpoint runs/fusion/best.ckpt --slices 3    only measures

Needs ``TRAINDX_DATA``. Writes ``benchmarks/results/fusion-table.md``; validation patients only.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from traindx.recipes.fusion import contract, evaluate, inference, scores, train
from traindx.recipes.kit.run_folder import BEST

RESULTS = Path(__file__).parent / "results"


def seconds_a_slice(model: inference.Model, size: int = 128, repeats: int = 5) -> float:
    """The fastest of some samplings of one slice."""
    image = torch.rand(1, 1, size, size)
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        model.fuse({"ct": image, "mr": image})
        taken.append(time.perf_counter() - begun)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/fusion"))
    parser.add_argument("--samples", type=int, default=4, help="draws averaged")
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--steps", type=int, help="optimiser steps, instead of the preset's")
    parser.add_argument("--distil", type=int, default=0, help="steps of distillation; 0 for none")
    given = parser.parse_args()
    torch.set_num_threads(1)
    notes = []
    path = given.checkpoint
    if path is None:
        begun = time.perf_counter()
        more = [] if given.steps is None else [f"--steps={given.steps}"]
        train.main(["--preset=slices", f"--out={given.out}", "--threads=1", *more])
        notes.append(f"trained in {(time.perf_counter() - begun) / 60:.0f} min of one core")
        path = given.out / BEST
    if given.distil:
        train.main([f"--distil={path}", f"--steps={given.distil}", "--threads=1"])
    checkpoint = contract.read(path)
    torch.manual_seed(0)
    model = inference.load(path)
    windows = evaluate.held_out(checkpoint, "auto", None, given.slices, everyone=False)
    one = f"{evaluate.MODEL}, 1 draw"
    several = f"{evaluate.MODEL}, {given.samples} draws"
    predictors = {one: inference.measured(model), several: inference.measured(model, given.samples)}
    guided = inference.load(path, guidance=0.05)
    predictors[f"{evaluate.MODEL}, guided"] = inference.measured(guided)
    notes.append(f"{seconds_a_slice(model):.2f} s for a 128 x 128 slice in {model.process.sampling_steps} steps")
    if "student" in checkpoint:
        student = inference.load(path, sampler="student")
        predictors[evaluate.STUDENT] = inference.measured(student)
        notes.append(f"{seconds_a_slice(student):.3f} s by the student")
    table = evaluate.measure(windows, {**predictors, **evaluate.references()}, model.head)
    found = evaluate.uncertainty(windows, model)
    notes.append(
        f"uncertainty over 4 draws: rank correlation with the error {found['correlation']:.2f} over tissue "
        f"({found['lowest']:.2f} to {found['highest']:.2f} over patients), spread {found['spread']:.4f}, error "
        f"{found['error']:.4f}"
    )
    patients = len(table[one]["Qabf"].values)
    text = (
        f"`python benchmarks/fusion_table.py --checkpoint ...`, {checkpoint['global_step']} optimiser steps, "
        f"{patients} validation patients, {len(windows)} slices; mean and 95 % bootstrap interval over patients; "
        f"mean rank over {', '.join(scores.SELECTION)}.\n\n{evaluate.text(table)}\n\n"
        + "\n".join(f"* {note}" for note in notes)
        + "\n"
    )
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fusion-table.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
