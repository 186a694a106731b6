"""Segmentation recipe against the pipelines of others: same patients, same processor minutes, paired differences.

    python benchmarks/segmentation_peers.py --data $TRAINDX_DATA/hippocampus --minutes 10 --seeds 0 1

Runs ``segmentation_hippocampus.py`` once a seed and method, one thread each, seeds outermost, and keeps the scores of
every patient in ``--scores`` (JSON) as it goes: a call that was ended goes on where it was. The table is made of what
is complete, and written to ``--write``; ``--table`` makes it without training. ``nnunet`` needs ``--nnunet-python``,
the interpreter of an environment with ``nnunetv2``.

A difference is the recipe's score less the peer's in the same patient with the same seed, averaged over patients and
the seeds that both have; its 95 % interval draws seeds and patients again (4000 resamples).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from seeds_and_patients import interval

METHODS = {
    "recipe": "recipe",
    "recipe-unet": "recipe, architecture `unet`",
    "monai-segresnet": "MONAI's SegResNet",
    "nnunet": "nnU-Net v2",
    "monai-dynunet": "MONAI's DynUNet, 16 to 128 filters",
    "monai-unet": "MONAI's residual U-Net",
}
OURS = ("recipe", "recipe-unet")
HERE = Path(__file__).parent


def train_all(options: argparse.Namespace) -> None:
    """Run what is not in the file of scores yet."""
    for seed in options.seeds:
        for method in options.methods:
            if any(record["method"] == method and record["seed"] == seed for record in known(options)):
                continue
            command = [sys.executable, str(HERE / "segmentation_hippocampus.py"), "--data", str(options.data)]
            command += ["--method", method, "--minutes", str(options.minutes), "--cores", "1", "--seed", str(seed)]
            command += ["--out", str(options.scores)]
            if method == "nnunet":  # what it preprocessed for one seed serves the next
                command += ["--folder", str(options.scores.with_suffix(".nnunet"))]
            environment = {"OMP_NUM_THREADS": "1", **os.environ, "NNUNET_PYTHON": str(options.nnunet_python)}
            print(f"seed {seed}, {method}", flush=True)
            code = subprocess.run(command, env=environment, check=False).returncode
            if code:
                print(f"seed {seed}, {method}: ended with exit status {code}; the others go on", flush=True)
            elif options.write:
                options.write.write_text(report(options))


def known(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Complete runs of these minutes on one core."""
    records = json.loads(options.scores.read_text()) if options.scores.exists() else []
    return [record for record in records if record["minutes"] == options.minutes and record["cores"] == 1]


def patient_scores(record: dict[str, Any], score: str) -> dict[str, float]:
    """Mean over classes of a score by patient."""
    return {
        name: float(np.mean([classes[one][score] for one in classes])) for name, classes in record["patients"].items()
    }


def by_seed(records: Sequence[dict[str, Any]], method: str, score: str) -> dict[int, dict[str, float]]:
    """Scores of a method: seed to patient to score."""
    return {record["seed"]: patient_scores(record, score) for record in records if record["method"] == method}


def as_table(scores: Sequence[dict[str, float]]) -> NDArray[np.float64]:
    """Scores as ``(seeds, patients)`` over the patients that every seed has."""
    names = sorted(set.intersection(*(set(one) for one in scores)))
    return np.array([[one[name] for name in names] for one in scores])


def difference(
    records: Sequence[dict[str, Any]], mine: str, peer: str, score: str
) -> tuple[NDArray[np.float64], list[int]]:
    """Scores of one method less a peer's, ``(seeds, patients)``, and the seeds that both have."""
    ours, theirs = by_seed(records, mine, score), by_seed(records, peer, score)
    seeds = sorted(ours.keys() & theirs.keys())
    paired = [
        {name: ours[seed][name] - theirs[seed][name] for name in ours[seed].keys() & theirs[seed].keys()}
        for seed in seeds
    ]
    return (as_table(paired) if paired else np.empty((0, 0))), seeds


def cell(table: NDArray[np.float64], sign: str = "") -> str:
    """Mean and interval."""
    mean, low, high = interval(table)
    return f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def report(options: argparse.Namespace) -> str:
    """The tables in Markdown."""
    records = known(options)
    methods = [method for method in METHODS if any(record["method"] == method for record in records)]
    patients = max((record["cases"] for record in records), default=0)
    seeds = " ".join(map(str, options.seeds))
    lines = [
        f"# Hippocampus, {patients} held-out patients, {options.minutes:g} processor minutes a training",
        "",
        f"`python benchmarks/segmentation_peers.py --minutes {options.minutes:g} --seeds {seeds}`",
        "",
        "Every method trains on the same patients for the same processor time (one thread) and is scored by the same",
        "code; what each of them is stands in the docstrings of `segmentation_monai.py` and `segmentation_nnunet.py`.",
        "Mean over patients and seeds [95 % bootstrap interval over both].",
        "",
        "| method | seeds | steps | minutes spent | Dice | anterior | posterior | surface Dice, 1 mm | HD95, mm |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method in methods:
        runs = [record for record in records if record["method"] == method]
        dice, surface = (as_table(list(by_seed(records, method, score).values())) for score in ("dice", "nsd"))
        parts = [
            np.mean([run["patients"][name][part]["dice"] for run in runs for name in run["patients"]])
            for part in ("anterior", "posterior")
        ]
        far = np.nanmean(as_table(list(by_seed(records, method, "hd95_mm").values())))
        lines.append(
            f"| {METHODS[method]} | {', '.join(str(run['seed']) for run in runs)} "
            f"| {', '.join(str(run['steps']) for run in runs)} "
            f"| {', '.join(format(run['cpu_minutes'], '.1f') for run in runs)} "
            f"| {cell(dice)} | {parts[0]:.3f} | {parts[1]:.3f} | {cell(surface)} | {far:.2f} |"
        )
    lines += [
        "",
        "The recipe less each of the others, in the same patients with the same seeds [95 % interval]; above 0 the",
        "recipe is better. With one seed the interval is over patients alone.",
        "",
        "| | less | seeds | Dice | surface Dice, 1 mm |",
        "|---|---|---|---|---|",
    ]
    for mine in OURS:
        for method in methods:
            dice, both = difference(records, mine, method, "dice")
            if both and method not in OURS[: OURS.index(mine) + 1]:
                surface, _ = difference(records, mine, method, "nsd")
                cells = f"{', '.join(map(str, both))} | {cell(dice, '+')} | {cell(surface, '+')}"
                lines.append(f"| {METHODS[mine]} | {METHODS[method]} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("TRAINDX_DATA", "../shared/data")) / "hippocampus"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--minutes", type=float, default=10, help="processor minutes of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    parser.add_argument("--nnunet-python", type=Path, default=os.environ.get("NNUNET_PYTHON", "python"))
    parser.add_argument("--scores", type=Path, default=Path("segmentation-peers.json"))
    parser.add_argument("--write", type=Path, help="Markdown file of the tables")
    parser.add_argument("--table", action="store_true", help="make the tables and train nothing")
    options = parser.parse_args()
    if not options.table:
        train_all(options)
    text = report(options)
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
