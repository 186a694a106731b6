"""Organs that were not contoured in every patient: masked loss against missing-as-background, paired.

    python benchmarks/segmentation_partial_labels.py --data $TRAINDX_DATA/openkbp_ct --seeds 0 1 2

Two trainings a seed that differ in nothing but the loss: in one, a class that was not looked for in a patient is
merged with the background (its probability there is held against nobody); in the other it is background, as a label map
without that organ says. Same initial weights, same patches, same order. Scored on patients of the ``valid`` split, each
organ in the patients in whom it was contoured. The difference of every organ is a mean over seeds and patients with a
95 % interval that draws both again (bootstrap of patients within resampled seeds).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from traindx.recipes.kit.schedule import warmup_cosine
from traindx.recipes.segmentation.augmentation import Augmentation
from traindx.recipes.segmentation.fingerprint import fingerprint
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.module import SegmentationModule
from traindx.recipes.segmentation.patches import PatchDataset, SampleNumbers
from traindx.recipes.segmentation.planning import Machine, plan
from traindx.recipes.segmentation.preprocessing import PreparedCase, prepare
from traindx.recipes.segmentation.sliding import predict_probabilities
from traindx.recipes.segmentation.sources import OPENKBP_ORGANS, openkbp_cases

MEANING = LabelMeaning(classes=dict(OPENKBP_ORGANS))


def load(options: argparse.Namespace) -> tuple[list[PreparedCase], list[PreparedCase], Any]:
    """Prepared training and validation patients, and the plan."""
    split = dict(
        zip(*(np.load(options.data / "ct64.npz")[key].astype(str).tolist() for key in ("ids", "split")), strict=True)
    )
    refs = openkbp_cases(options.data)
    train = [ref for ref in refs if split[ref.name] == "train"]
    val = [ref for ref in refs if split[ref.name] == "valid"]
    facts = fingerprint(train, meaning=MEANING)
    made = plan(facts, MEANING, Machine.here(), base_filters=options.filters)
    patch = tuple(min(options.edge, edge) // d * d for edge, d in zip(made.patch, made.divisor, strict=True))
    made = made.model_copy(update={"patch": patch})
    print(f"{len(train)} patients train, {len(val)} validate; patch {patch}, filters {made.filters}", flush=True)
    for name in MEANING.names:
        seen = sum(ref.read().labelled is None or name in (ref.read().labelled or ()) for ref in train)
        print(f"  {name}: contoured in {seen} of {len(train)}", flush=True)
    return [prepare(ref, made) for ref in train], [prepare(ref, made) for ref in val], made


def train_one(cases: list[PreparedCase], made: Any, seed: int, options: argparse.Namespace, masked: bool) -> Any:
    """One training; ``masked`` is the only difference between the two of a seed."""
    torch.manual_seed(seed)
    module = SegmentationModule(made)
    patches = PatchDataset(cases, made.patch, augmentation=Augmentation(), foreground=0.7, seed=seed)
    numbers = iter(SampleNumbers(len(cases), options.steps * made.batch, seed))
    optimizer = torch.optim.AdamW(module.parameters(), lr=options.lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_cosine(s, options.steps, 50, 0.01))
    for _ in range(options.steps):
        drawn = [patches[next(numbers)] for _ in range(made.batch)]
        batch = {key: torch.stack([one[key] for one in drawn]) for key in drawn[0]}
        if not masked:
            batch["labelled"] = torch.ones_like(batch["labelled"])
        loss = torch.stack(list(module.loss_terms(batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 12)
        optimizer.step()
        schedule.step()
    return module


def dice(module: Any, case: PreparedCase, made: Any) -> NDArray[np.float64]:
    """Dice of each organ that was contoured in a patient, else NaN."""
    assert case.label is not None
    p = predict_probabilities(module.network, torch.from_numpy(case.image)[None], made.patch, bf16=module.bf16)[0]
    predicted = p.argmax(0).numpy()
    out = np.full(len(MEANING.names), np.nan)
    for index in range(len(out)):
        a, b = predicted == index + 1, case.label == index + 1
        if case.labelled[index] and b.any():
            out[index] = 2 * (a & b).sum() / (a.sum() + b.sum())
    return out


def interval(table: NDArray[np.float64], resamples: int = 4000) -> tuple[float, float, float]:
    """Mean of ``(seeds, patients)`` with a two-level bootstrap interval; patients without the organ are NaN."""
    rng = np.random.default_rng(0)
    table = table[:, np.isfinite(table).all(axis=0)]
    if table.size == 0:
        return float("nan"), float("nan"), float("nan")
    seeds, patients = table.shape
    rows = rng.integers(seeds, size=(resamples, seeds))
    columns = rng.integers(patients, size=(resamples, patients))
    means = np.array([table[np.ix_(r, c)].mean() for r, c in zip(rows, columns, strict=True)])
    low, high = np.percentile(means, (2.5, 97.5))
    return float(table.mean()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/openkbp_ct"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--filters", type=int, default=12)
    parser.add_argument("--edge", type=int, default=48)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    train, val, made = load(options)
    scores: dict[bool, list[NDArray[np.float64]]] = {True: [], False: []}
    started = time.process_time()
    for seed in options.seeds:
        for masked in (True, False):
            module = train_one(train, made, seed, options, masked)
            scores[masked].append(np.stack([dice(module, case, made) for case in val]))
            mean = float(np.nanmean(scores[masked][-1]))
            print(f"seed {seed}, {'masked' if masked else 'missing as background'}: mean Dice {mean:.4f}", flush=True)
    one, two = (np.stack(scores[key]) for key in (True, False))  # (seeds, patients, organs)
    rows = {}
    for index, name in enumerate(MEANING.names):
        mean, low, high = interval(one[:, :, index] - two[:, :, index])
        rows[name] = {
            "masked": float(np.nanmean(one[:, :, index])),
            "missing_as_background": float(np.nanmean(two[:, :, index])),
            "difference": mean,
            "low": low,
            "high": high,
            "patients": int(np.isfinite(one[0, :, index]).sum()),
        }
        row = rows[name]
        print(
            f"{name:15} {row['masked']:.3f} {row['missing_as_background']:.3f}  "
            f"difference {mean:+.3f} [{low:+.3f}, {high:+.3f}] in {row['patients']} patients"
        )
    minutes = (time.process_time() - started) / 60
    print(f"{minutes:.1f} processor minutes")
    if options.out:
        settings = {key: str(value) for key, value in vars(options).items()}
        options.out.write_text(json.dumps({"settings": settings, "cpu_minutes": minutes, "organs": rows}, indent=1))


if __name__ == "__main__":
    main()
