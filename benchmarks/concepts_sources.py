"""What negatives from another collection are worth: how well the source can be told, and what a concept learns by them.

    python benchmarks/concepts_sources.py --write

TBX11K (tuberculosis) and the COVID-19 image collection below ``TRAINDX_DATA``, by patient. First the source: a small
encoder is trained to tell the two apart, from the image, from what is left of it when the lungs are covered, from the
lungs alone; and a logistic regression from the histogram. The cover is one box for all images, so that its shape says
nothing. Then the concepts: the first stage of the recipe with negatives of the same source, of both, and with both
sources where a finding of the other one is left unknown. Last-epoch weights are scored on patients that chose nothing.
Writes ``benchmarks/results/concepts-sources.md``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from traindx.recipes.concepts.data import Dataset, EvalBatches
from traindx.recipes.concepts.joint import joined, source_of
from traindx.recipes.concepts.loss import pooled
from traindx.recipes.concepts.metrics import auroc
from traindx.recipes.concepts.peers import outputs, train_peer
from traindx.recipes.concepts.radiographs import Radiographs, split_patients
from traindx.recipes.concepts.settings import Settings, from_preset
from traindx.recipes.concepts.sources import load
from traindx.recipes.concepts.train import fit, prepare
from traindx.recipes.kit.estimate import by_patient
from traindx.recipes.kit.split import Split

RESULTS = Path(__file__).parent / "results" / "concepts-sources.md"
COVER = (0.05, 0.10, 0.95, 0.85)
"""Box over the lungs, relative x0, y0, x1, y1: about the median of the lungs' outermost sides in the COVID-19 set."""
SOURCE_EPOCHS = 10
BINS = 32
SETS = ("tbx11k", "covid")
CONCEPTS = ("ActiveTuberculosis", "COVID-19")
Floats = NDArray[np.floating]
Index = NDArray[np.intp]


def inside(size: int) -> Tensor:
    """True in the cover, ``(size, size)``."""
    centre = (torch.arange(size) + 0.5) / size
    x0, y0, x1, y1 = COVER
    return ((centre >= y0) & (centre <= y1))[:, None] & ((centre >= x0) & (centre <= x1))[None]


def read() -> tuple[Radiographs, Radiographs, Split]:
    """Both sets as one, with and without negatives of the other, and the patients of each divided on their own."""
    tbx, covid = load("tbx11k"), load("covid")
    covid = Radiographs(
        covid.name, covid.images, covid.ids, covid.patients, ("COVID-19",), covid.labels[:, :1],
        tuple(boxes[boxes[:, 0] == 0] for boxes in covid.boxes), covid.classes, covid.task,
    )  # fmt: skip
    parts = [split_patients(one) for one in (tbx, covid)]
    names = {
        part: tuple(f"{one.name}/{n}" for one, own in zip((tbx, covid), parts, strict=True) for n in getattr(own, part))
        for part in ("train", "val", "test")
    }
    split = Split(**names)
    return joined(tbx, covid), joined(tbx, covid, absent=False), split


def dataset(data: Radiographs, names: tuple[str, ...], settings: Settings) -> Dataset:
    return Dataset(data.only(names), size=settings.architecture.size, map_size=settings.architecture.map_size)


def logistic(train: Tensor, labels: Tensor, test: Tensor) -> Floats:
    """Log-odds of a logistic regression with a weak ridge on standardised columns, by L-BFGS."""
    mean, std = train.mean(dim=0), train.std(dim=0).clamp_min(1e-6)
    x, y = (train - mean) / std, labels.float()
    weight = torch.zeros(x.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(x @ weight[1:] + weight[0], y) + 0.01 * weight[1:].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return (((test - mean) / std) @ weight[1:] + weight[0]).detach().numpy()


def histograms(images: Tensor) -> Tensor:
    """Share of the pixels in each of ``BINS`` grey levels of [0, 1], ``(N, BINS)``."""
    return torch.stack([torch.histc(one, BINS, 0, 1) for one in images.flatten(1)]) / images[0].numel()


def told_by_network(train: Dataset, test: Dataset, settings: Settings, keep: Callable[[int], Tensor]) -> Floats:
    """Log-odds of the second source, by a plain classifier on images of which some pixels are left."""
    for one in (train, test):
        one.images = torch.where(keep(one.images.shape[-1]), one.images, torch.tensor(0.5))
    network = train_peer("plain", settings, train, epochs=SOURCE_EPOCHS).network
    said = outputs(network, test, ("task",))["task"]
    return (said[:, 1] - said[:, 0]).numpy()


def sources(data: Radiographs, split: Split, seeds: Sequence[int], draws: int) -> list[str]:
    """The table of how well the source can be told."""
    unseen = (*split.val, *split.test)
    regions: dict[str, Callable[[int], Tensor]] = {
        "image": lambda size: torch.ones(size, size, dtype=torch.bool),
        "image without the lungs": lambda size: ~inside(size),
        "lungs alone": inside,
    }
    said: dict[str, list[Floats]] = {name: [] for name in regions}
    for seed in seeds:
        architecture = {"size": 64, "widths": [16, 32, 64, 96], "strides": [2, 2, 2, 1]}
        settings = from_preset("standard", seed=seed, balance_task=True, architecture=architecture)
        for name, keep in regions.items():
            train, test = dataset(data, split.train, settings), dataset(data, unseen, settings)
            said[name].append(told_by_network(train, test, settings, keep))
            print(f"source from {name}, seed {seed}: {auroc(said[name][-1], test.task.numpy()):.3f}", flush=True)
    for name, images in (
        ("histogram of stored grey values", lambda one: torch.from_numpy(one.data.images.astype(np.float32) / 255)),
        ("histogram of grey values as the network is given them", lambda one: one.images),
    ):
        x, y = histograms(images(train_plain := dataset(data, split.train, settings))), train_plain.task
        said[name] = [logistic(x, y, histograms(images(dataset(data, unseen, settings))))]
    test_data = data.only(unseen)
    truth = source_of(test_data)
    lines = ["| from | AUROC of the source | by seed |", "|---|---|---|"]
    for name, each in said.items():
        found = by_patient(
            lambda i, each=each: float(np.mean([auroc(one[i], truth[i]) for one in each])),
            test_data.patients,
            resamples=draws,
        )
        shown = ", ".join(f"{auroc(one, truth):.3f}" for one in each) if len(each) > 1 else "none drawn"
        lines.append(f"| {name} | {found.text(3)} | {shown} |")
    return lines


def first_stage(
    data: Radiographs, split: Split, seed: int, kept: Path, unseen: Dataset, train: Dataset
) -> dict[str, Floats]:
    """Concept logits of unseen images, and mean features of both parts, of one training; read where it was kept."""
    stage = {"concepts": from_preset("standard").stages["concepts"]}
    settings = from_preset("standard", seed=seed, stages=stage, keep="last")
    if kept.exists():
        stored = np.load(kept, allow_pickle=False)
        if str(stored["settings"]) == settings.model_dump_json():
            return {name: stored[name] for name in ("logits", "features", "train")}
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = prepare(settings, Path(folder), data, split)
        fit(run)
    maps = run.module.eval().network.maps
    found: dict[str, Floats] = {}
    with torch.no_grad():
        features = {
            name: torch.cat([maps.encoder(batch["image"]) for batch in EvalBatches(part)])
            for name, part in (("features", unseen), ("train", train))
        }
        found["logits"] = pooled(maps.head(features["features"]), settings.architecture.pooling).numpy()
    found |= {name: value.mean(dim=(2, 3)).numpy() for name, value in features.items()}
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, settings=settings.model_dump_json(), seconds=time.process_time() - begun, **found)
    print(f"{kept.stem}: {time.process_time() - begun:.0f} s", flush=True)
    return found


def figure(
    said: list[tuple[Floats, int]], has: NDArray[np.bool_], chosen: NDArray[np.bool_]
) -> Callable[[Index], float]:
    """AUROC of a concept over some of the images, mean over seeds: logits, and the concept's column in them."""

    def of(index: Index) -> float:
        kept = index[chosen[index]]
        return float(np.mean([auroc(one[kept, k], has[kept].astype(np.float32)) for one, k in said]))

    return of


FINDING = "## Telling a finding"
ARMS = ("own source alone", "both sources, the other one's images as negatives", "both sources, the other one unknown")


def concepts(
    absent: Radiographs, unknown: Radiographs, split: Split, seeds: Sequence[int], draws: int, keep: Path
) -> list[str]:
    """The tables of what concepts learn."""
    settings = from_preset("standard")
    names = (*split.val, *split.test)
    unseen, train = dataset(absent, names, settings), dataset(absent, split.train, settings)
    own = {name: own_part(absent, split, name) for name in SETS}
    runs: dict[str, list[dict[str, Floats]]] = {}
    for seed in seeds:
        jobs = {
            **{f"{ARMS[0]} {name}": own[name] for name in SETS},
            ARMS[1]: (absent, split),
            ARMS[2]: (unknown, split),
        }
        for position, (arm, (data, part)) in enumerate(jobs.items()):
            kept = keep / f"stage-{position}-{seed}.npz"
            runs.setdefault(arm, []).append(first_stage(data, part, seed, kept, unseen, train))
    data = absent.only(names)
    source = source_of(data)
    lines = [
        "| concept | trained on | negatives of its own source | negatives of the other source | own source, minus "
        "trained on it alone |",
        "|---|---|---|---|---|",
    ]
    for concept, home in zip(CONCEPTS, (0, 1), strict=True):
        column = absent.concepts.index(concept)
        alone = [(one["logits"], column if home == 0 else 0) for one in runs[f"{ARMS[0]} {SETS[home]}"]]
        of = {ARMS[0]: alone, **{arm: [(one["logits"], column) for one in runs[arm]] for arm in ARMS[1:]}}
        has = data.labels[:, column] == 1
        chosen = {"own": source == home, "other": has | (source != home)}

        for arm, said in of.items():
            cells = [by_patient(figure(said, has, chosen[w]), data.patients, resamples=draws) for w in chosen]
            here, before = figure(said, has, chosen["own"]), figure(alone, has, chosen["own"])
            difference = by_patient(lambda i, a=here, b=before: a(i) - b(i), data.patients, resamples=draws)
            text = [*(one.text(3) for one in cells), "" if arm == ARMS[0] else difference.text(3, "+")]
            lines.append(f"| {concept} | {arm} | {' | '.join(text)} |")
        counts = int((has & (source == home)).sum()), int((~has & (source == home)).sum()), int((source != home).sum())
        lines.append(f"| | scored: {counts[0]} with it | {counts[1]} without | {counts[2]} | |")
    lines += ["", "The source by a logistic regression on the mean features of the trained encoders:", ""]
    lines += ["| trained on | AUROC of the source |", "|---|---|"]
    for arm, each in runs.items():
        said = [logistic(torch.from_numpy(one["train"]), train.task, torch.from_numpy(one["features"])) for one in each]
        found = by_patient(
            lambda i, said=said: float(np.mean([auroc(one[i], source[i]) for one in said])),
            data.patients,
            resamples=draws,
        )
        lines.append(f"| {arm} | {found.text(3)} |")
    return lines


def own_part(data: Radiographs, split: Split, name: str) -> tuple[Radiographs, Split]:
    """One of two joined sets again, with its own concepts."""
    mine = data.only([one for one in data.ids if one.startswith(f"{name}/")])
    columns = np.flatnonzero([name == SETS[0] if c != "COVID-19" else name == SETS[1] for c in data.concepts])
    boxes = tuple(
        np.column_stack([np.searchsorted(columns, one[:, 0]), one[:, 1:]]).astype(np.float32) for one in mine.boxes
    )
    alone = Radiographs(
        name, mine.images, mine.ids, mine.patients, tuple(data.concepts[c] for c in columns), mine.labels[:, columns],
        boxes, mine.classes, mine.task,
    )  # fmt: skip
    known = set(mine.ids)
    return alone, Split(**{part: tuple(n for n in names if n in known) for part, names in split})


def covered(data: Radiographs) -> str:
    """What of the boxes that are known lies in the cover: lungs of the one set, lesions of the other."""
    x0, y0, x1, y1 = COVER
    said = []
    for what, name in (("lesions", SETS[0]), ("lungs with COVID-19", SETS[1])):
        boxes = np.concatenate([b for b, i in zip(data.boxes, data.ids, strict=True) if i.startswith(f"{name}/")])
        a, b, c, d = boxes[:, 1:].T
        both = np.clip(np.minimum(c, x1) - np.maximum(a, x0), 0, None) * np.clip(
            np.minimum(d, y1) - np.maximum(b, y0), 0, None
        )
        said.append(f"{both.sum() / ((c - a) * (d - b)).sum():.0%} of the area of the boxes of {what}")
    return " and ".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--keep", type=Path, default=Path("runs/concepts-sources"), help="what each training said")
    parser.add_argument("--concepts-only", action="store_true", help="keep the first table of the results as it is")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    absent, unknown, split = read()
    if given.concepts_only:
        lines = RESULTS.read_text(encoding="utf-8").partition(FINDING)[0].rstrip().splitlines()
    else:
        lines = [*introduction(absent, split, given.seeds), *sources(absent, split, range(given.seeds), given.draws)]
        write(lines, given.write)
    for seeds in range(1, given.seeds + 1):
        lines = [
            *"\n".join(lines).partition(FINDING)[0].rstrip().splitlines(),
            "",
            FINDING,
            "",
            "AUROC of a concept by the first stage of the preset `standard`, images that have it against those of its "
            f"own source that do not, and against all images of the other source. Seeds: {seeds}.",
            "",
            *concepts(absent, unknown, split, range(seeds), given.draws, given.keep),
        ]
        write(lines, given.write)
    print("\n".join(lines))


def introduction(data: Radiographs, split: Split, seeds: int) -> list[str]:
    """What was measured, up to the first table."""
    counted = {name: sum(one.startswith(f"{name}/") for one in split.train) for name in SETS}
    return [
        "# What negatives from another collection are worth",
        "",
        "`python benchmarks/concepts_sources.py --write`",
        "",
        f"TBX11K ({counted['tbx11k']} training images) and the COVID-19 image collection ({counted['covid']}), divided "
        f"by patient; {len(split.val) + len(split.test)} images are scored by weights of the last epoch. Intervals: "
        "95 %, bootstrap over patients of the mean over seeds.",
        "",
        "## Telling the source",
        "",
        f"A small encoder, 64 pixels a side, {SOURCE_EPOCHS} epochs, {seeds} seeds. The lungs are covered by one box "
        f"for all images (x {COVER[0]:.2f} to {COVER[2]:.2f}, y {COVER[1]:.2f} to {COVER[3]:.2f}), so that the shape "
        f"of the cover says nothing; it covers {covered(data)}, so a rim of lung is left in some.",
        "",
    ]


def write(lines: list[str], really: bool) -> None:
    """After every part, so that a run that is broken off leaves what it measured."""
    if really:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
