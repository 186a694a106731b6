"""``traindx evaluate concepts``: held-out patients, beside what needs no training, with intervals over patients."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.finding import Frozen
from traindx.recipes.concepts.boxes import Boxes
from traindx.recipes.concepts.contract import Learnt
from traindx.recipes.concepts.data import Dataset, EvalBatches, shown
from traindx.recipes.concepts.loss import pooled
from traindx.recipes.concepts.metrics import (
    auroc,
    average_precision,
    balanced_accuracy,
    chance,
    f1_macro,
    mean_over,
    overlap,
    pointing,
    purity,
)
from traindx.recipes.concepts.module import ConceptsModule, module_from
from traindx.recipes.concepts.page import write_scores_page
from traindx.recipes.concepts.pictures import draw_maps, encoded
from traindx.recipes.concepts.prototypes import (
    Similarities,
    flat_embedding,
    patches,
    similarities,
    used,
    with_patches,
)
from traindx.recipes.concepts.radiographs import Radiographs
from traindx.recipes.concepts.sources import load
from traindx.recipes.concepts.train import MOVED
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.estimate import Estimate, by_patient
from traindx.recipes.kit.run_folder import checkpoint_in

Index = NDArray[np.intp]


class Evaluation(Frozen):
    """Scores of a model on patients it was not trained on.

    Attributes:
        part: ``val`` or ``test``.
        images: Images scored.
        patients: Their patients.
        figures: Interval by figure.
        baselines: The same figures without a network: the prevalence for mAP and F1 (everything present), one half
            for AUROC, the area of the boxes and the commonest place of training boxes for pointing.
        per_concept: AUROC and average precision of each concept.
        prototypes: Similarities; None where they were not trained.
        purity: Mean prototype purity; NaN where they were not trained.
        purity_chance: Share of the patches of each concept, mean: the purity of a random prototype.
    """

    part: str
    images: int
    patients: int
    figures: dict[str, Estimate]
    baselines: dict[str, float]
    per_concept: dict[str, dict[str, float]]
    prototypes: Similarities | None = None
    purity: float = float("nan")
    purity_chance: float = float("nan")


@dataclass
class Outputs:
    """What the network says of a set."""

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    task: NDArray[np.float32]


@torch.no_grad()
def outputs_of(module: ConceptsModule, dataset: Dataset) -> Outputs:
    """Maps of logits, concept probabilities and task probabilities of a set."""
    module.eval()
    maps, task = [], []
    for batch in EvalBatches(dataset):
        said = module.network(batch["image"])
        maps.append(said["maps"])
        task.append(said["task"].softmax(dim=1))
    logits = torch.cat(maps)
    scores = pooled(logits, module.settings.architecture.pooling).sigmoid()
    return Outputs(logits.numpy(), scores.numpy(), torch.cat(task).numpy())


def evaluate_model(
    module: ConceptsModule, learnt: Learnt, data: Radiographs, *, part: str = "test", resamples: int = 500
) -> tuple[Evaluation, Outputs, Radiographs]:
    """Score a model.

    Args:
        module: The model.
        learnt: Its thresholds and split.
        data: The set it was trained on a part of.
        part: ``val`` or ``test``.
        resamples: Bootstrap resamples.

    Raises:
        InputError: The part is empty.
    """
    if learnt.split is None or not getattr(learnt.split, part):
        raise InputError(f"the model's split has no {part} images", expected="a part that was held out")
    architecture = module.settings.architecture
    train, held = (data.only(names) for names in (learnt.split.train, getattr(learnt.split, part)))
    dataset = Dataset(held, size=architecture.size, map_size=architecture.map_size)
    said = outputs_of(module, dataset)
    labels, hits, overlaps = held.labels, pointing(said.maps, held.boxes), overlap(said.maps, held.boxes)
    known = held.task >= 0
    onehot = np.where(known[:, None], np.eye(len(held.classes), dtype=np.float32)[held.task], np.nan)
    statistics: dict[str, Callable[[Index], float]] = {
        "mAP": lambda i: mean_over(average_precision, said.scores[i], labels[i]),
        "AUROC": lambda i: mean_over(auroc, said.scores[i], labels[i]),
        "F1 macro": lambda i: f1_macro(said.scores[i], labels[i], learnt.thresholds),
        "pointing": lambda i: _nanmean(hits[i]),
        "IoU": lambda i: _nanmean(overlaps[i]),
    }
    if "task" in learnt.trained:
        answer = said.task.argmax(axis=1)
        statistics["task balanced accuracy"] = lambda i: balanced_accuracy(answer[i], held.task[i])
        statistics["task AUROC"] = lambda i: mean_over(auroc, said.task[i], onehot[i])
    figures = {name: by_patient(of, held.patients, resamples=resamples) for name, of in statistics.items()}
    present = [float(np.nanmean(labels[:, k])) for k in range(labels.shape[1])]
    # in one pass over images: the most frequent place of training boxes, on the map's own grid
    train_set = Dataset(train, size=architecture.size, map_size=architecture.map_size)
    place = np.mean([train_set.batch([i])["masks"][0].numpy() for i in range(len(train_set))], axis=0)
    baselines = {
        "mAP": float(np.mean(present)),
        "AUROC": 0.5,
        "F1 macro": f1_macro(np.ones_like(said.scores), labels, [0.5] * labels.shape[1]),
        "pointing": _nanmean(chance(held.boxes, labels.shape[1])),
        "pointing, commonest place": _nanmean(pointing(np.repeat(place[None], len(held), axis=0), held.boxes)),
        "task AUROC": 0.5,
        "task balanced accuracy": 1 / len(held.classes),
    }
    per_concept = {
        name: {
            "AUROC": auroc(said.scores[:, k], labels[:, k]),
            "average precision": average_precision(said.scores[:, k], labels[:, k]),
            "prevalence": present[k],
            "pointing": _nanmean(hits[:, k]),
        }
        for k, name in enumerate(held.concepts)
    }
    alike, pure, spatially_invariant = (
        _prototypes(module, dataset) if "prototypes" in learnt.trained else (None, np.nan, np.nan)
    )
    found = Evaluation(
        part=part,
        images=len(held),
        patients=len(set(held.patients)),
        figures=figures,
        baselines=baselines,
        per_concept=per_concept,
        prototypes=alike,
        purity=float(pure),
        purity_chance=float(spatially_invariant),
    )
    return found, said, held


def _nanmean(values: NDArray[np.floating]) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


@torch.no_grad()
def _prototypes(module: ConceptsModule, dataset: Dataset) -> tuple[Similarities, float, float]:
    """Similarities, purity and its chance: over patches of held-out images, or over images where there are no boxes."""
    network, count = module.network, module.settings.hottest
    embedded, owner, best = [], [], []
    for batch in with_patches(network, EvalBatches(dataset), count):
        best.append(network.prototypes(network.maps.encoder(batch["image"])))
        embedded.append(flat_embedding(network.prototypes.embed(network.maps.encoder(batch["image"]))))
        owner.append(patches(batch["masks"]))
    everything, owned = torch.cat(embedded), torch.cat(owner)
    vectors = network.prototypes.vectors
    in_use = int((used(everything[owned.any(dim=1)], owned[owned.any(dim=1)], vectors) > 0).sum())
    if count:  # no box says where a concept is: a prototype is pure if the images nearest to it have the concept
        has = dataset.labels == 1
        pure, chance_of_it = purity(has.numpy(), torch.cat(best).numpy()), has
    else:
        cosine = torch.einsum("nd,kmd->nkm", everything, vectors).numpy()
        pure, chance_of_it = purity(owned.numpy(), cosine), owned
    return similarities(vectors, in_use), float(pure.mean()), float(chance_of_it.float().mean())


def rows_of(found: Evaluation) -> list[tuple[str, str, str]]:
    """Figure, value with interval, baseline."""
    rows = []
    for name, interval in found.figures.items():
        if np.isnan(interval.mean):  # pointing and overlap without boxes
            continue
        baseline = f"{found.baselines[name]:.3f}" if name in found.baselines else ""
        if name == "pointing":
            baseline = (
                f"{baseline} (area of the boxes), {found.baselines['pointing, commonest place']:.3f} (commonest place)"
            )
        rows.append((name, interval.text(3), baseline))
    if found.prototypes is not None:
        alike = found.prototypes
        rows.append(("prototype purity", f"{found.purity:.3f}", f"{found.purity_chance:.3f}"))
        rows.append(("prototypes: cosine within, between concepts", f"{alike.within:.3f}, {alike.between:.3f}", ""))
        rows.append(("prototypes in use", f"{alike.used} of {alike.count}", ""))
    return rows


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "evaluate",
        "concepts",
        "Score a model on patients that it was not trained on, beside baselines.",
        "--checkpoint runs/tbx --out runs/tbx/scores",
    )
    group = kit.data(made, ())
    group.add_argument(
        "--cases", choices=("test", "val"), default="test", help="held-out patients (default), or validation ones"
    )
    kit.model(made, device=False)
    group = kit.results(made, "scores.json and page.html", json="the scores")
    group.add_argument("--resamples", type=int, default=500, help="resamples of the intervals (default: 500)")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        InputError: The checkpoint or its data cannot be used.
    """
    kit.refuse_old(argv, MOVED)
    options = parser().parse_args(list(argv))
    module, learnt = module_from(checkpoint_in(options.checkpoint))
    settings = module.settings
    data = load(settings.source, images=settings.images, size=settings.architecture.size, seed=settings.split_seed)
    if data.concepts != module.concepts:
        raise InputError(
            f"the model knows {', '.join(module.concepts)}", expected=f"the concepts {', '.join(data.concepts)}"
        )
    found, said, held = evaluate_model(module, learnt, data, part=options.cases, resamples=options.resamples)
    if options.json:
        print(found.model_dump_json(indent=1))
    else:
        for row in rows_of(found):
            print(f"{row[0]:45} {row[1]:24} baseline {row[2]}" if row[2] else f"{row[0]:45} {row[1]}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "scores.json").write_text(json.dumps(found.model_dump(mode="json"), indent=1), encoding="utf-8")
        note = f"{found.images} {options.cases} images of {found.patients} patients of {held.name}."
        write_scores_page(options.out / "page.html", note, rows_of(found), _examples(module, held, said))
        print(f"wrote {options.out / 'page.html'}", file=sys.stderr if options.json else sys.stdout)
    return 0


def _examples(module: ConceptsModule, held: Radiographs, said: Outputs, count: int = 6) -> list[tuple[str, str]]:
    """The first images with boxes, or the first of all: chosen by their place and not by how well they came out."""
    architecture = module.settings.architecture
    chosen = ([index for index, boxes in enumerate(held.boxes) if len(boxes)] or list(range(len(held))))[:count]
    few = held.only([held.ids[index] for index in chosen])
    dataset = Dataset(few, size=architecture.size, map_size=architecture.map_size)
    pictures = []
    for position, index in enumerate(chosen):
        image = shown(dataset.images[position])
        maps = 1 / (1 + np.exp(-said.maps[index]))
        boxes: Boxes = held.boxes[index]
        pictures.append((held.ids[index], encoded(draw_maps(image, maps, held.concepts, boxes))))
    return pictures
