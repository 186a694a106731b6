"""Organs that were not contoured in every patient: ways to treat them in the loss, paired.

    python benchmarks/segmentation_partial_labels.py --data $TRAINDX_DATA/openkbp_ct --seeds 0 1 2

Trainings of a seed differ in nothing but the loss; same initial weights, same patches, same order:

* ``masked``: a class that was not looked for in a patient is merged with the background (its probability there is held
  against nobody); the recipe's default.
* ``background``: it is background, as a label map without that organ says.
* ``exclusion``: marginal and exclusion loss of Shi et al. 2021: merged as well, with a Dice of the merged background,
  and kept off the organs that were contoured.

Scored on patients of the ``valid`` split, each organ in the patients in whom it was contoured. The difference of every
organ to ``masked`` is a mean over seeds and patients with a 95 % interval that draws both again (bootstrap of patients
within resampled seeds). ``--out`` keeps the scores of every patient after every training, and what stands there with
the same settings is not trained again.
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
from seeds_and_patients import interval

from traindx.recipes.kit.schedule import warmup_cosine
from traindx.recipes.segmentation.augmentation import Augmentation
from traindx.recipes.segmentation.fingerprint import fingerprint
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.loss import MARGINAL_EXCLUSION
from traindx.recipes.segmentation.module import SegmentationModule
from traindx.recipes.segmentation.patches import PatchDataset, SampleNumbers
from traindx.recipes.segmentation.planning import Machine, plan
from traindx.recipes.segmentation.preprocessing import PreparedCase, prepare
from traindx.recipes.segmentation.sliding import predict_probabilities
from traindx.recipes.segmentation.sources import OPENKBP_ORGANS, openkbp_cases

MEANING = LabelMeaning(classes=dict(OPENKBP_ORGANS))
ARMS = ("masked", "background", "exclusion")
SETTINGS = ("steps", "filters", "edge", "lr")


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


def train_one(cases: list[PreparedCase], made: Any, seed: int, options: argparse.Namespace, arm: str) -> Any:
    """One training; ``arm`` is the only difference between those of a seed."""
    torch.manual_seed(seed)
    module = SegmentationModule(made, loss=dict(MARGINAL_EXCLUSION) if arm == "exclusion" else None)
    patches = PatchDataset(cases, made.patch, augmentation=Augmentation(), foreground=0.7, seed=seed)
    numbers = iter(SampleNumbers(len(cases), options.steps * made.batch, seed))
    optimizer = torch.optim.AdamW(module.parameters(), lr=options.lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_cosine(s, options.steps, 50, 0.01))
    for _ in range(options.steps):
        drawn = [patches[next(numbers)] for _ in range(made.batch)]
        batch = {key: torch.stack([one[key] for one in drawn]) for key in drawn[0]}
        if arm == "background":
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


def known(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Trainings that stand in the file of results."""
    return json.loads(options.out.read_text())["trainings"] if options.out and options.out.exists() else []


def trained(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train and score every arm of every seed, but for what is known with these settings."""
    settings = {key: getattr(options, key) for key in SETTINGS}
    records = [record for record in known(options) if record["settings"] == settings]
    todo = [
        (seed, arm)
        for seed in options.seeds
        for arm in options.arms
        if not any(record["seed"] == seed and record["arm"] == arm for record in records)
    ]
    train, val, made = load(options) if todo else ([], [], None)
    for seed, arm in todo:
        started = time.process_time()
        module = train_one(train, made, seed, options, arm)
        scores = np.stack([dice(module, case, made) for case in val])
        minutes = (time.process_time() - started) / 60
        print(f"seed {seed}, {arm}: mean Dice {np.nanmean(scores):.4f}, {minutes:.1f} processor minutes", flush=True)
        record = {"seed": seed, "arm": arm, "settings": settings, "cpu_minutes": minutes, "scores": scores.tolist()}
        records.append(record)
        if options.out:
            options.out.write_text(json.dumps({"organs": MEANING.names, "trainings": [*known(options), record]}))
    return [record for record in records if record["seed"] in options.seeds and record["arm"] in options.arms]


def report(records: list[dict[str, Any]]) -> None:
    """Dice of every organ and arm over all its seeds, and the difference to ``masked`` in the seeds of both."""
    by_arm = {
        arm: {record["seed"]: np.array(record["scores"]) for record in records if record["arm"] == arm} for arm in ARMS
    }
    for arm, seeds in by_arm.items():
        if not seeds:
            continue
        print(f"{arm}, seeds {sorted(seeds)}")
        both = sorted(seeds.keys() & by_arm["masked"].keys()) if arm != "masked" else []
        for index, name in enumerate(MEANING.names):
            all_seeds = np.stack([scores[:, index] for scores in seeds.values()])  # (seeds, patients)
            line = f"  {name:15} {np.nanmean(all_seeds):.3f} in {int(np.isfinite(all_seeds[0]).sum())} patients"
            if both:
                paired = np.stack([seeds[seed][:, index] - by_arm["masked"][seed][:, index] for seed in both])
                mean, low, high = interval(paired)
                line += f", less masked {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
            print(line)
    print(f"{sum(record['cpu_minutes'] for record in records):.1f} processor minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/openkbp_ct"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--filters", type=int, default=12)
    parser.add_argument("--edge", type=int, default=48)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON file of the scores of every patient")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    report(trained(options))


if __name__ == "__main__":
    main()
