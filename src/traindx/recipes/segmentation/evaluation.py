"""``traindx evaluate segmentation``: scores of checkpoints or of a folder of masks, beside trivial baselines."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError, UsageError
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.estimate import Estimate
from traindx.recipes.segmentation.evaluated import Evaluation, Scored
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.metrics import NSD_TOLERANCE_MM, CaseScores, score_case, summarise
from traindx.recipes.segmentation.sources import CaseRef, RawCase, list_cases
from traindx.recipes.segmentation.volumes import list_volumes, read_volume, stem_of

if TYPE_CHECKING:
    from traindx.recipes.segmentation.inference import Predictor


Segmented = tuple[NDArray[np.uint8], NDArray[np.floating[Any]] | None, float]
"""Class indices, p(foreground) where it is known, and seconds."""

Segmenter = Callable[[CaseRef, RawCase], Segmented]


@dataclass
class Gallery:
    """Keeps worst, median and best case by mean Dice without holding every volume in memory.

    The median is known only at the end, so all cases up to ``limit`` are kept; beyond it the page shows what it has.
    """

    limit: int = 200
    kept: list[Scored] = field(default_factory=list)

    def add(self, case: Scored) -> None:
        """Keep a case if there is room."""
        if len(self.kept) < self.limit and np.isfinite(case.scores.dice):
            self.kept.append(case)

    def chosen(self) -> list[tuple[str, Scored]]:
        """Worst, median and best."""
        order = sorted(self.kept, key=lambda case: case.scores.dice)
        if not order:
            return []
        picks = [("worst", order[0]), ("median", order[len(order) // 2]), ("best", order[-1])]
        return picks[: max(1, min(3, len(order)))]


def reference_of(raw: RawCase, meaning: LabelMeaning, name: str) -> NDArray[np.int8]:
    """Encoded reference of a case on the grid of its file.

    Raises:
        InputError: It has no label or the label has values without a meaning.
    """
    if raw.label is None:
        raise InputError(f"{name} has no label")
    return meaning.encode(raw.label, where=name)


def score_refs(
    refs: Sequence[CaseRef],
    meaning: LabelMeaning,
    segment: Segmenter,
    *,
    tolerance: float = NSD_TOLERANCE_MM,
    gallery: Gallery | None = None,
    progress: Callable[[CaseScores], None] | None = None,
) -> tuple[list[CaseScores], list[tuple[str, str]]]:
    """Score cases one after another on the grid of their files.

    Args:
        refs: Cases with labels.
        meaning: Meaning of label values.
        segment: Gives class indices, p(foreground) or None, and seconds for a case.
        tolerance: Tolerance of the surface Dice in mm.
        gallery: Where cases are kept for the page.
        progress: Called with each case's scores.

    Returns:
        Scores, and the cases that were left out with the reason.
    """
    scores: list[CaseScores] = []
    left_out: list[tuple[str, str]] = []
    for ref in refs:
        try:
            raw = ref.read()
            reference = reference_of(raw, meaning, ref.name)
            predicted, foreground, seconds = segment(ref, raw)
            if predicted.shape != reference.shape:
                raise InputError(f"the mask of {ref.name} has shape {predicted.shape}", expected=str(reference.shape))
        except InputError as error:
            left_out.append((ref.name, str(error)))
            continue
        labelled = [raw.labelled is None or name in raw.labelled for name in meaning.names]
        spacing = np.linalg.norm(raw.affine[:3, :3], axis=0).tolist()
        one = score_case(
            ref.name,
            predicted,
            reference,
            names=meaning.names,
            spacing=spacing,
            labelled=labelled,
            foreground=foreground,
            tolerance=tolerance,
            seconds=seconds,
        )
        scores.append(one)
        if gallery is not None:
            gallery.add(Scored(one, raw.image[0].astype(np.float32), reference, predicted))
        if progress is not None:
            progress(one)
    return scores, left_out


def atlas(refs: Sequence[CaseRef], meaning: LabelMeaning, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Mean one-hot label of training cases, stretched to one shape: what is known without looking at the image.

    Returns:
        Class frequencies, shape ``(classes, D, H, W)``.
    """
    from traindx.recipes.segmentation.fingerprint import canonical
    from traindx.recipes.segmentation.preprocessing import resample

    total = np.zeros((meaning.channels, *shape), dtype=np.float32)
    for ref in refs:
        raw = canonical(ref.read())
        label = reference_of(raw, meaning, ref.name)
        onehot = np.stack([label == index for index in range(meaning.channels)]).astype(np.float32)
        total += resample(onehot, shape)
    total /= max(len(refs), 1)
    return total


def atlas_segmenter(
    frequencies: NDArray[np.float32],
) -> Segmenter:
    """The atlas stretched to each case, likeliest class: a baseline that never looks at the image."""
    from traindx.recipes.segmentation.preprocessing import to_file_grid

    def segment(ref: CaseRef, raw: RawCase) -> Segmented:
        p = to_file_grid(frequencies, raw.image.shape[1:], raw.affine)
        return np.argmax(p, axis=0).astype(np.uint8), 1 - p[0], 0.0

    return segment


def evaluate_predictor(
    predictor: Predictor,
    refs: Sequence[CaseRef],
    *,
    tolerance: float = NSD_TOLERANCE_MM,
    baseline_from: Sequence[CaseRef] = (),
    gallery: Gallery | None = None,
    progress: Callable[[CaseScores], None] | None = None,
) -> Evaluation:
    """Score a predictor, and the atlas of its training cases where they can be read."""

    def segment(ref: CaseRef, raw: RawCase) -> Segmented:
        prediction = predictor(raw)
        return prediction.classes, 1 - prediction.probabilities[0], prediction.seconds

    meaning = predictor.plan.labels
    scores, left_out = score_refs(refs, meaning, segment, tolerance=tolerance, gallery=gallery, progress=progress)
    baselines: dict[str, Estimate] = {}
    if baseline_from and scores:
        frequencies = atlas(baseline_from, meaning, predictor.plan.patch)
        rows, _ = score_refs(refs, meaning, atlas_segmenter(frequencies), tolerance=tolerance)
        baselines["atlas of the training labels"] = summarise(rows, meaning.names)["mean"]["dice"]
    settings = predictor.settings
    return Evaluation(
        names=meaning.names,
        cases=tuple(scores),
        summary=summarise(scores, meaning.names),
        baselines=baselines,
        left_out=tuple(left_out),
        tolerance_mm=tolerance,
        settings=f"{len(predictor.modules)} network(s), flips {settings.flips}, "
        f"threshold {settings.threshold if settings.threshold is not None else 'likeliest class'}, "
        f"clean-up {settings.cleanup.model_dump(exclude_defaults=True) or 'none'}",
    )


def evaluate_masks(
    folder: Path, refs: Sequence[CaseRef], meaning: LabelMeaning, *, tolerance: float, gallery: Gallery | None = None
) -> Evaluation:
    """Score masks that some program wrote: a file with the name of each case."""
    masks = {stem_of(path): path for path in list_volumes(folder)}

    def segment(ref: CaseRef, raw: RawCase) -> Segmented:
        if ref.name not in masks:
            raise InputError(f"{folder} has no mask of {ref.name}")
        predicted = meaning.encode(read_volume(masks[ref.name]).array[0], where=masks[ref.name].name)
        return np.maximum(predicted, 0).astype(np.uint8), None, float("nan")

    scores, left_out = score_refs(refs, meaning, segment, tolerance=tolerance, gallery=gallery)
    return Evaluation(
        names=meaning.names,
        cases=tuple(scores),
        summary=summarise(scores, meaning.names),
        left_out=tuple(left_out),
        tolerance_mm=tolerance,
        settings=f"masks of {folder}",
    )


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """One row a case and class."""
    fields = ("dice", "nsd", "hd95_mm", "surface_mm", "volume_error", "predicted_ml", "reference_ml")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "class", *fields, "foreground_ratio", "reference_ratio", "output_spread"])
        for case in evaluation.cases:
            tail = [case.foreground_ratio, case.reference_ratio, case.output_spread]
            for name, scores in case.classes.items():
                writer.writerow([case.name, name, *(getattr(scores, column) for column in fields), *tail])


def table(evaluation: Evaluation) -> str:
    """The scores as text."""
    lines = [f"{'':24}{'Dice':>26}{f'NSD {evaluation.tolerance_mm:g} mm':>26}{'HD95 mm':>9}{'volume error':>14}"]
    for name, row in evaluation.summary.items():
        volume = f"{row['volume_error'].mean:+.3f}" if "volume_error" in row else ""
        lines.append(f"{name:24}{row['dice']!s:>26}{row['nsd']!s:>26}{row['hd95_mm'].mean:>9.2f}{volume:>14}")
    lines += [f"{name:24}{value!s:>26}" for name, value in evaluation.baselines.items()]
    lines.append(f"{len(evaluation.cases)} cases; {evaluation.settings}")
    lines += [f"left out {name}: {reason}" for name, reason in evaluation.left_out]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = kit.parser(
        "evaluate",
        "segmentation",
        "Score a checkpoint, a fold ensemble or a folder of masks against reference labels.",
        "--checkpoint runs/fold0 --root data/ --out scores/",
    )
    group = kit.data(made, ())
    group.add_argument("--root", type=Path, required=True, help="data set with images and labels")
    group.add_argument(
        "--cases",
        choices=("unseen", "test", "val", "all"),
        default="unseen",
        help="unseen: what the checkpoint was neither trained nor tuned on (default); all: say so when you report it",
    )
    group = kit.model(made, many=True)
    group.add_argument("--masks", type=Path, help="score the masks of this folder instead; labels mean what they did")
    group = kit.results(made, "scores.json, scores.csv and page.html", json="the scores")
    group.add_argument("--tolerance", type=float, default=NSD_TOLERANCE_MM, help="of the surface Dice, in mm")
    return made


def evaluate(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        InputError: Nothing can be scored.
        UsageError: The data set is given as in older versions.
    """
    if argv and not argv[0].startswith("-"):
        raise UsageError("the data set is named by an option now", expected=f"--root {argv[0]}")
    options = parser().parse_args(list(argv))
    from traindx.recipes.segmentation.inference import Predictor
    from traindx.recipes.segmentation.page import write_page

    predictor = Predictor.load(options.checkpoint, options.device)
    refs, lonely, _ = list_cases(options.root)
    chosen, train = choose(predictor, refs, options.cases)
    gallery = Gallery()
    if options.masks is not None:
        result = evaluate_masks(
            options.masks, chosen, predictor.plan.labels, tolerance=options.tolerance, gallery=gallery
        )
    else:
        result = evaluate_predictor(
            predictor, chosen, tolerance=options.tolerance, baseline_from=train, gallery=gallery
        )
    result = result.model_copy(update={"left_out": (*result.left_out, *((item.name, item.reason) for item in lonely))})
    if not result.cases:
        raise InputError("no case could be scored: " + "; ".join(f"{n}: {r}" for n, r in result.left_out[:3]))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "scores.json").write_text(result.model_dump_json(indent=1), encoding="utf-8")
        write_csv(options.out / "scores.csv", result)
        write_page(options.out / "page.html", result, gallery.chosen())
    print(result.model_dump_json() if options.json else table(result))
    return 0


def choose(predictor: Predictor, refs: Sequence[CaseRef], which: str) -> tuple[list[CaseRef], list[CaseRef]]:
    """Cases to score, and the training cases among them (for the atlas).

    Raises:
        InputError: The choice leaves nothing, for example because every case was trained on.
    """
    splits = [module.split for module in predictor.modules if module.split is not None]
    train = {name for split in splits for name in split.train}
    if which == "all":
        chosen = list(refs)
    elif which == "unseen":
        chosen = [ref for ref in refs if ref.name not in predictor.seen]
    else:
        wanted = {name for split in splits for name in getattr(split, which)} - (train if which == "val" else set())
        chosen = [ref for ref in refs if ref.name in wanted]
    if not chosen:
        raise InputError(
            f"no case of this folder is {which!r}: the checkpoint was trained or tuned on all of them",
            expected="cases it has not seen",
            do="train with a hold-out, or pass --cases all and say so",
        )
    return chosen, [ref for ref in refs if ref.name in train]
