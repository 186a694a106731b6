"""The three stages on dermoscopic images (PH2): concepts, prototypes, task and interventions, beside two peers.

    python benchmarks/concepts_ph2.py --develop            # the development fold alone, which is never reported
    python benchmarks/concepts_ph2.py --write --pages pages

Five stratified folds of lesions. Every choice was made on the first; the other four are reported, each by networks that
were trained on lesions of the remaining folds. All arms see the same lesions, batches and augmentation; the peers get
the processor time of the recipe's three stages. Writes ``benchmarks/results/concepts-ph2.md``.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from traindx.recipes.concepts.contract import gallery_of
from traindx.recipes.concepts.data import Dataset, EvalBatches, shown
from traindx.recipes.concepts.explanation import explain
from traindx.recipes.concepts.interventions import curve, levels
from traindx.recipes.concepts.metrics import auroc, balanced_accuracy, purity
from traindx.recipes.concepts.module import module_from
from traindx.recipes.concepts.page import write_case_page
from traindx.recipes.concepts.peers import KINDS, outputs, train_peer
from traindx.recipes.concepts.pictures import draw_looks
from traindx.recipes.concepts.prototypes import flat_embedding, patches, similarities, used, with_patches
from traindx.recipes.concepts.radiographs import Radiographs, folds
from traindx.recipes.concepts.settings import Settings, from_preset
from traindx.recipes.concepts.sources import load
from traindx.recipes.concepts.train import Run, fit, prepare
from traindx.recipes.kit.estimate import Estimate, by_patient
from traindx.recipes.kit.split import Split

RESULTS = Path(__file__).parent / "results" / "concepts-ph2.md"
FOLDS = 5
DEVELOPMENT = 0
PEER_EPOCHS = {"plain": 67, "bottleneck": 67}
"""Epochs in the processor time of the recipe's three stages, from the development fold."""
VALIDATION = 9  # one in nine of the training lesions
RECIPE, BEFORE = "recipe", "recipe, nearest"
ARMS = (RECIPE, *KINDS)
NOTE = """
Five stratified folds of the 160 lesions. Sizes, rates, augmentation and lengths were chosen on one of them (32
lesions), which is not scored here; a lesion of the other four is scored by networks trained on the remaining folds
(about 114 lesions, and 14 for thresholds). All arms have one encoder, the same lesions, batches and augmentation,
and the same processor time. Intervals: 95 %, lesions and seeds drawn with replacement, unless said otherwise.
""".strip().splitlines()
Floats = NDArray[np.floating]
Ints = NDArray[np.int64]


@dataclass
class Scores:
    """What one training says of the lesions of its fold.

    Attributes:
        answers: Classes by number of concepts that are set, ``(choices, N)`` each; the first without any.
        wrong: Classes where all concepts are set to the opposite of what is true.
        concepts: Probabilities ``(N, K)``; none of a plain classifier.
        seconds: Processor time of the training.
        figures: Figures of the prototypes.
    """

    answers: list[Ints]
    wrong: Ints
    concepts: Floats | None
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def task(self) -> Ints:
        return self.answers[0][0]


def split_of(data: Radiographs, fold: int) -> Split:
    """The lesions of a fold to test, a stratified ninth of the others for thresholds, the rest to train."""
    parts = folds(data, FOLDS)
    rest = data.only([name for index, names in enumerate(parts) if index != fold for name in names])
    held = folds(rest, VALIDATION, seed=1)
    return Split(train=tuple(name for part in held[1:] for name in part), val=tuple(held[0]), test=tuple(parts[fold]))


def dataset(data: Radiographs, names: tuple[str, ...], settings: Settings) -> Dataset:
    return Dataset(data.only(names), size=settings.architecture.size, map_size=settings.architecture.map_size)


def set_concepts(task: Any, known: torch.Tensor, train: Dataset, activation: torch.Tensor, test: Dataset) -> Any:
    """Answers by number of concepts set right, and with all of them set wrong."""
    at = levels(known, train.labels)
    answers = curve(task, activation, test.labels, at)
    wrong = curve(task, activation, 1 - test.labels, at)[-1][0]
    return answers, wrong


def recipe(
    settings: Settings, data: Radiographs, split: Split, folder: Path, begin: dict[str, Any] | None = None
) -> Scores:
    """Train the stages of the settings, from the weights of another run where some are given."""
    run = prepare(settings, folder, data, split)
    if begin is not None:
        run.module.load_state_dict(begin)
    begun = time.process_time()
    fit(run)
    seconds = time.process_time() - begun
    module = run.module.eval()
    network, train, test = module.network, run.data.train_set, dataset(data, split.test, settings)
    known = outputs(network, train, ("similarity",))["similarity"]
    said = outputs(network, test, ("similarity", "concepts"))
    answers, wrong = set_concepts(network.task, known, train, said["similarity"], test)
    with (folder / "log" / "prototypes" / "metrics.csv").open(encoding="utf-8") as stream:
        cosines = [float(row["val_within"]) for row in csv.DictReader(stream) if row.get("val_within")]
    figures = {"within before": cosines[-1], **prototype_figures(run, said["similarity"], test)}
    return Scores(answers, wrong, said["concepts"].sigmoid().numpy(), seconds, figures)


@torch.no_grad()
def prototype_figures(run: Run, similarity: torch.Tensor, test: Dataset) -> dict[str, float]:
    """Cosines and use of the prototypes on training patches, purity on the images of the fold."""
    network, count = run.module.network, run.settings.hottest
    embedded, owner = [], []
    for batch in with_patches(network, EvalBatches(run.data.train_set), count):
        embedded.append(flat_embedding(network.prototypes.embed(network.maps.encoder(batch["image"]))))
        owner.append(patches(batch["masks"]))
    patch, mine = torch.cat(embedded), torch.cat(owner)
    near = used(patch, mine, network.prototypes.vectors)
    alike = similarities(network.prototypes.vectors, int((near > 0).sum()))
    K, M, _ = network.prototypes.vectors.shape
    cosines = [float(similarities(network.prototypes.vectors[k : k + 1]).within) for k in range(K)]
    spread = [float((patch[mine[:, k]] @ patch[mine[:, k]].T).mean()) for k in range(K)]
    has = test.labels.numpy() == 1
    pure = [purity(has[:, [k]], similarity[:, [k]].numpy(), min(5, int(has[:, k].sum()))).mean() for k in range(K)]
    return {
        "within": alike.within,
        "largest within": max(cosines),
        "between": alike.between,
        "used": alike.used / (K * M),
        "least share": float((near / near.sum(dim=1, keepdim=True)).min()),
        "patches within": float(np.mean(spread)),
        "purity": float(np.mean(pure)),
        "chance": float(has.mean()),
    }


def peer(kind: Any, settings: Settings, data: Radiographs, split: Split) -> Scores:
    train, test = dataset(data, split.train, settings), dataset(data, split.test, settings)
    trained = train_peer(kind, settings, train, epochs=PEER_EPOCHS[kind])
    if kind == "plain":
        answer = outputs(trained.network, test, ("task",))["task"].argmax(dim=1).numpy()
        return Scores([answer[None]], answer, None, trained.seconds)
    known = outputs(trained.network, train, ("concepts",))["concepts"].sigmoid()
    said = outputs(trained.network, test, ("concepts",))["concepts"].sigmoid()
    answers, wrong = set_concepts(trained.network.task, known[..., None], train, said[..., None], test)
    return Scores(answers, wrong, said.numpy(), trained.seconds)


def fold_of(data: Radiographs, fold: int, seed: int, pages: Path | None) -> dict[str, Scores]:
    """All arms on one fold and seed."""
    settings, split = from_preset("dermoscopy", seed=seed), split_of(data, fold)
    with tempfile.TemporaryDirectory() as where:
        found = recipe(settings, data, split, Path(where) / "a")
        later = {name: settings.stages[name] for name in ("prototypes", "task")}
        before = settings.model_copy(update={"assignment": "nearest", "stages": later})
        stage_1 = torch.load(Path(where) / "a" / "concepts" / "last.ckpt", map_location="cpu", weights_only=True)
        scores = {RECIPE: found, BEFORE: recipe(before, data, split, Path(where) / "b", stage_1["state_dict"])}
        if pages is not None:
            write_pages(data, split, Path(where) / "a" / "model.ckpt", pages)
    for kind in KINDS:
        scores[kind] = peer(kind, settings, data, split)
    test = data.only(split.test)
    for arm, one in scores.items():
        told = [f"{name} {value:.2f}" for name, value in one.figures.items()]
        if one.concepts is not None:
            each = [auroc(one.concepts[:, k], test.labels[:, k]) for k in range(len(data.concepts))]
            told.append("AUROC " + " ".join(f"{value:.2f}" for value in each))
            told.append("set " + " ".join(f"{mean_accuracy(rows, test.task):.2f}" for rows in one.answers))
            told.append(f"set wrong {balanced_accuracy(one.wrong, test.task):.2f}")
        accuracy = balanced_accuracy(one.task, test.task)
        print(f"fold {fold} seed {seed} {arm}: {one.seconds:.0f} s, {accuracy:.3f}", *told, sep=", ", flush=True)
    return scores


def mean_accuracy(rows: Ints, task: Ints) -> float:
    return float(np.mean([balanced_accuracy(row, task) for row in rows]))


def write_pages(data: Radiographs, split: Split, path: Path, out: Path) -> None:
    """Explanations of the first test lesion of each class: chosen by name and not by how well they came out."""
    module, learnt = module_from(path)
    gallery = gallery_of(path)
    out.mkdir(parents=True, exist_ok=True)
    test = data.only(split.test)
    for index in (int(np.flatnonzero(test.task == c)[0]) for c in range(len(data.classes))):
        one = dataset(data, (test.ids[index],), module.settings)
        found = explain(module.network, one.batch([0])["image"], learnt)
        picture, name = shown(one.images[0]), f"{data.classes[test.task[index]]}, {test.ids[index]}"
        looks = [look for look in found.looks if look.that is not None]
        figure = draw_looks(picture, looks, gallery, data.concepts, module.settings.architecture.map_size[0])
        figure.savefig(out / f"{test.ids[index]}.png", dpi=70)
        write_case_page(
            out / f"{test.ids[index]}.html",
            name,
            picture,
            found,
            concepts=data.concepts,
            classes=data.classes,
            thresholds=learnt.thresholds,
            gallery=gallery,
        )


class Table:
    """All trainings, joined over folds: one answer of each seed for each reported lesion."""

    def __init__(self, data: Radiographs, runs: dict[tuple[int, int], dict[str, Scores]]) -> None:
        self.runs, self.concepts = runs, data.concepts
        self.folds = sorted({fold for fold, _ in runs})
        self.seeds = sorted({seed for _, seed in runs})
        names = [name for fold in self.folds for name in data.only(split_of(data, fold).test).ids]
        self.names = tuple(names)
        place = [data.ids.index(name) for name in names]
        self.task, self.labels = data.task[place], data.labels[place]

    def joined(self, arm: str, of: Any) -> NDArray[Any]:
        """Something of each training, ``(seeds, ..., lesions or lesions first)``, joined over folds."""
        return np.stack([np.concatenate([of(self.runs[f, s][arm]) for f in self.folds], axis=0) for s in self.seeds])

    def accuracy(self, answers: Ints, draws: int) -> tuple[float, float, float]:
        return self.interval(
            lambda seeds, i: np.mean([balanced_accuracy(answers[s][i], self.task[i]) for s in seeds]), draws
        )

    def interval(self, statistic: Any, draws: int) -> tuple[float, float, float]:
        """A figure and its 95 % interval when lesions and seeds are both drawn with replacement."""
        generator = np.random.default_rng(0)
        S, N = len(self.seeds), len(self.task)
        drawn = [statistic(generator.integers(S, size=S), generator.integers(N, size=N)) for _ in range(draws)]
        low, high = np.nanpercentile(drawn, (2.5, 97.5))
        return float(statistic(np.arange(S), np.arange(N))), float(low), float(high)


def text(found: tuple[float, float, float], sign: str = "") -> str:
    return f"{found[0]:{sign}.3f} [{found[1]:{sign}.3f}, {found[2]:{sign}.3f}]"


def report(data: Radiographs, table: Table, draws: int) -> list[str]:
    seconds = {arm: np.mean([run[arm].seconds for run in table.runs.values()]) for arm in ARMS}
    return [
        f"{len(table.task)} lesions in {len(table.folds)} folds, {len(table.seeds)} seeds; processor seconds a "
        f"training: " + ", ".join(f"{arm} {value:.0f}" for arm, value in seconds.items()) + ".",
        "",
        *concept_lines(data, table, draws),
        *task_lines(data, table, draws),
        *intervention_lines(table, draws),
        *prototype_lines(table),
    ]


def concept_lines(data: Radiographs, table: Table, draws: int) -> list[str]:
    lines = ["## Concepts", "", "AUROC, mean over seeds; interval over lesions.", ""]
    lines += ["| concept | lesions with it | recipe | bottleneck |", "|---|---|---|---|"]
    scores = {arm: table.joined(arm, lambda one: one.concepts) for arm in (RECIPE, "bottleneck")}

    def area(arm: str, concepts: Any, index: Any) -> float:
        each = [auroc(one[index, k], table.labels[index, k]) for one in scores[arm] for k in concepts]
        return float(np.mean(each))

    for k, concept in enumerate(data.concepts):
        cells: list[Estimate] = [by_patient(partial(area, arm, (k,)), table.names, resamples=draws) for arm in scores]
        lines.append(f"| {concept} | {int(table.labels[:, k].sum())} | {cells[0].text(3)} | {cells[1].text(3)} |")
    every = tuple(range(len(data.concepts)))
    cells = [by_patient(partial(area, arm, every), table.names, resamples=draws // 2) for arm in scores]
    lines.append(f"| mean | | {cells[0].text(3)} | {cells[1].text(3)} |")
    return [*lines, ""]


def task_lines(data: Radiographs, table: Table, draws: int) -> list[str]:
    lines = ["## Task", "", f"Balanced accuracy of {', '.join(data.classes)}; chance {1 / len(data.classes):.3f}.", ""]
    lines += ["| arm | balanced accuracy | by seed | recipe minus it, paired | by class |", "|---|---|---|---|---|"]
    answers = {arm: table.joined(arm, lambda one: one.task) for arm in (*ARMS, BEFORE)}
    for arm, mine in answers.items():

        def gain(seeds: Any, i: Any, mine: Ints = mine) -> float:
            ours = [balanced_accuracy(answers[RECIPE][s][i], table.task[i]) for s in seeds]
            theirs = [balanced_accuracy(mine[s][i], table.task[i]) for s in seeds]
            return float(np.mean(ours) - np.mean(theirs))

        difference = "" if arm == RECIPE else text(table.interval(gain, draws), "+")
        each = ", ".join(f"{balanced_accuracy(row, table.task):.3f}" for row in mine)
        right = ", ".join(f"{(mine[:, table.task == c] == c).mean():.2f}" for c in range(len(data.classes)))
        lines.append(f"| {arm} | {text(table.accuracy(mine, draws))} | {each} | {difference} | {right} |")
    return [*lines, ""]


def intervention_lines(table: Table, draws: int) -> list[str]:
    lines = ["## Interventions", "", "Balanced accuracy when concepts are set to what the dermatologists read; mean"]
    lines[-1] += " over all choices of so many concepts."
    lines += ["", "| concepts set | recipe | bottleneck |", "|---|---|---|"]
    arms = (RECIPE, "bottleneck")
    K = table.labels.shape[1]
    for count in range(K + 1):
        cells = []
        for arm in arms:
            answers = table.joined(arm, lambda one, count=count: one.answers[count].T)  # (S, N, choices)

            def of(seeds: Any, i: Any, answers: Ints = answers) -> float:
                drawn = answers[seeds][:, i]
                right = drawn == table.task[i][None, :, None]
                return float(np.mean([right[:, table.task[i] == c].mean() for c in np.unique(table.task[i])]))

            cells.append(text(table.interval(of, draws)))
        lines.append(f"| {count} | {cells[0]} | {cells[1]} |")
    wrong = [text(table.accuracy(table.joined(arm, lambda one: one.wrong), draws)) for arm in arms]
    lines.append(f"| all, set wrong | {wrong[0]} | {wrong[1]} |")

    def followed(seeds: Any, i: Any) -> float:
        return float(np.mean(first[seeds][:, i] != last[seeds][:, i]))

    first, last = (table.joined(RECIPE, lambda one, n=n: one.answers[n][0]) for n in (0, K))
    alone = []
    for k in range(K):
        answers = table.joined(RECIPE, lambda one, k=k: one.answers[1][k])
        gain = np.mean([balanced_accuracy(row, table.task) for row in answers]) - np.mean(
            [balanced_accuracy(row, table.task) for row in first]
        )
        alone.append(f"{table.concepts[k]} {gain:+.3f}")
    lines += [
        "",
        f"Setting all changes the recipe's answer for {text(table.interval(followed, draws))} of the lesions.",
    ]
    lines += [f"One concept set alone, recipe: {', '.join(alone)}.", ""]
    return lines


def prototype_lines(table: Table) -> list[str]:
    lines = [
        "## Prototypes",
        "",
        "Mean over folds and seeds (smallest, largest). *nearest*: from the same first stage,",
    ]
    lines[-1] += " a patch may be near any prototype of its concept, as before."
    names = {
        "within before": "cosine within a concept, before the step onto patches",
        "within": "cosine within a concept, after it (asked: at most .5)",
        "largest within": "the same, of the concept with the largest",
        "between": "cosine between concepts",
        "patches within": "cosine of a concept's training patches",
        "used": "share of prototypes in use",
        "least share": "share of its concept's patches, of the least used",
        "purity": "purity on unseen lesions",
        "chance": "purity of a random prototype",
    }
    lines += ["", "| figure | recipe | nearest |", "|---|---|---|"]
    for key, name in names.items():
        cells = []
        for arm in (RECIPE, BEFORE):
            values = [run[arm].figures[key] for run in table.runs.values()]
            cells.append(f"{np.mean(values):.3f} ({min(values):.3f}, {max(values):.3f})")
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--develop", action="store_true", help="the development fold alone; nothing is written")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--pages", type=Path, help="explanations of three lesions of the first fold")
    parser.add_argument("--keep", type=Path, help="keep the answers of every training here, and read those that are")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load("ph2")
    chosen = [DEVELOPMENT] if given.develop else [fold for fold in range(FOLDS) if fold != DEVELOPMENT]
    runs: dict[tuple[int, int], dict[str, Scores]] = {}
    for seed in range(given.seeds):
        for fold in chosen:
            kept = given.keep / f"{fold}-{seed}.pt" if given.keep else None
            if kept is not None and kept.exists():
                runs[fold, seed] = torch.load(kept, weights_only=False)
                continue
            runs[fold, seed] = fold_of(data, fold, seed, given.pages if (fold, seed) == (chosen[0], 0) else None)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                torch.save(runs[fold, seed], kept)
    if given.develop:
        return
    table = Table(data, runs)
    lines = ["# The three stages on dermoscopic images (PH2)", "", "`python benchmarks/concepts_ph2.py --write`", ""]
    lines += [*NOTE, ""]
    lines += report(data, table, given.draws)
    print("\n".join(lines))
    if given.write:
        RESULTS.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
