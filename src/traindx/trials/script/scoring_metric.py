"""Which figure of a script judges it, and in which direction.

The script's own validation figure is taken where it reports one: the one that was named, else one that a metric object
computed or that was logged or printed, by its name. A training loss never judges, since a treatment may change what it
means. Where there is no figure of the script's own, one of ours on the outputs that were seen is taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from traindx.errors import UsageError
from traindx.trials.script.pairing import ArmResult, Series


def _names(text: str) -> frozenset[str]:
    """Words of a text."""
    return frozenset(text.split())


HIGHER = _names(
    """
    acc accuracy dice dsc iou jaccard miou giou auc auroc roc auprc ap map f1 fbeta precision recall sensitivity
    specificity psnr ssim msssim r2 ncc kappa mcc corr correlation pearson spearman ppv npv tpr tnr top1 top5 cindex
    concordance bleu rouge
    """
)
LOWER = _names(
    """
    loss mae mse rmse nrmse nmse mape rmae hd hd95 hausdorff assd asd msd tre perplexity ppl error err nll ce bce
    fid lpips wer cer distance l1 l2 fpr fnr brier ece deviation
    """
)
_VALIDATION = frozenset(["val", "valid", "validation", "test", "eval", "evaluation", "dev", "holdout"])
_TRAINING = frozenset(["train", "training", "tr", "running", "batch"])
_EXTREME = frozenset(["best", "max", "min", "highest", "lowest"])
_LOSSES = frozenset(["loss", "mse", "mae", "l1", "l2", "ce", "bce", "nll"])
OURS = {"accuracy": True, "area under the ROC curve": True, "mean absolute error": False}
_HIGHER_WORDS = ("higher", "max", "up")
_LOWER_WORDS = ("lower", "min", "down")


@dataclass(frozen=True)
class Chosen:
    """The figure that judges.

    Attributes:
        name: As it is shown.
        source: Where it comes from.
        higher_is_better: Its direction.
        is_loss: It is a validation loss, whose meaning a treatment may change.
        validation: False if nothing says that it was taken on validation data.
    """

    name: str
    source: str
    higher_is_better: bool
    is_loss: bool = False
    validation: bool = True


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why nothing was (or, beside a figure of ours, why none of the script's own)."""

    chosen: Chosen | None = None
    why_not: str = ""


def words(name: str) -> list[str]:
    """``val_DiceMetric/2`` as ``val dice metric 2``."""
    parts = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*|\d+", name.replace("hd_95", "hd95"))
    return [part.lower() for part in parts]


def direction_of(name: str) -> bool | None:
    """True if a higher value is better, False if a lower one is, None where the name does not tell."""
    found = words(name)
    joined = {*found, "".join(found[-2:])}
    if joined & LOWER:
        return False
    return True if joined & HIGHER else None


def wanted_metric(text: str) -> tuple[str, bool | None]:
    """``NAME``, ``NAME:higher`` or ``NAME:lower`` of the command line.

    Raises:
        UsageError: What follows the colon is neither.
    """
    name, colon, way = text.rpartition(":")
    if not colon:
        return text, None
    if way in _HIGHER_WORDS:
        return name, True
    if way in _LOWER_WORDS:
        return name, False
    raise UsageError(f"--metric {text!r}: {way!r} is no direction", expected="NAME:higher or NAME:lower")


def choose(control: ArmResult, metric: str = "") -> Choice:
    """The figure that judges all arms, from what the control reported.

    Args:
        control: The script as it is.
        metric: What the user named, or empty.
    """
    if metric:
        return _named(control, metric)
    ranked = sorted(
        ((_rank(one), -index, one) for index, one in enumerate(control.figures)),
        key=lambda item: item[:2],
        reverse=True,
    )
    for rank, _, one in ranked:
        way = one.higher_is_better if one.higher_is_better is not None else direction_of(one.name)
        if rank > 0 and way is not None:
            return Choice(Chosen(one.name, one.source, way, "loss" in words(one.name), _validates(one)))
    for one in control.captured:
        if one.name in OURS:
            return Choice(Chosen(one.name, "captured", OURS[one.name]), _unknown_direction(control))
    return Choice(why_not=_unknown_direction(control) or _nothing(control))


def _rank(one: Series) -> float:
    """How well a figure is suited; 0 where it is not."""
    found = set(words(one.name))
    way = one.higher_is_better if one.higher_is_better is not None else direction_of(one.name)
    if way is None or found & (_TRAINING | _EXTREME) or (one.evaluating is False and one.source != "printed"):
        return 0.0
    validation, quality = _validates(one), "loss" not in found
    if not validation and (not quality or (not way and (found & _LOSSES or not one.evaluating))):
        return 0.0  # without "val" before it, it is as likely the training loss under its own name
    return 4.0 * validation + 2.0 * quality + 0.5 * (one.source != "printed")


def _validates(one: Series) -> bool:
    """Its name, or the object that computed it, says that it is a figure of validation."""
    return bool(set(words(one.name)) & _VALIDATION) or (bool(one.evaluating) and one.source != "printed")


def _named(control: ArmResult, metric: str) -> Choice:
    name, way = wanted_metric(metric)
    plain = " ".join(words(name))
    every = [*control.figures, *control.captured]
    exact = [one for one in every if one.name == name] or [one for one in every if " ".join(words(one.name)) == plain]
    found = exact or [one for one in every if plain and plain in " ".join(words(one.name))]
    if not found:
        known = ", ".join(dict.fromkeys(one.name for one in every)) or "nothing"
        return Choice(why_not=f"the script reported no {name!r} within the window; it reported {known}")
    best = max(found, key=lambda one: len(one.values))
    if way is None:
        way = best.higher_is_better if best.higher_is_better is not None else OURS.get(name, direction_of(best.name))
    if way is None:
        return Choice(why_not=f"is a higher {name!r} better? Say --metric {name}:higher or --metric {name}:lower")
    is_loss = "loss" in words(best.name)
    return Choice(Chosen(best.name, best.source, way, is_loss))


def _unknown_direction(control: ArmResult) -> str:
    """A question about validation figures whose names do not tell which is better; empty where there is none."""

    def unknown(one: Series) -> bool:
        found = set(words(one.name))
        return bool(found & _VALIDATION) and not found & _TRAINING and direction_of(one.name) is None

    open_names = list(dict.fromkeys(one.name for one in control.figures if unknown(one)))
    if open_names:
        name = open_names[0]
        return (
            f"of {', '.join(open_names[:4])} it is not known whether higher or lower is better: "
            f"say --metric '{name}:higher' or --metric '{name}:lower'"
        )
    return ""


def _nothing(control: ArmResult) -> str:
    others = [one.name for one in control.figures if not set(words(one.name)) & {"epoch", "step", "iter", "it", "lr"}]
    seen = f"it reported {', '.join(list(dict.fromkeys(others))[:6])}" if others else "it reported no figure"
    if control.outputs:
        return f"no validation metric was recognised ({seen}): name one with --metric NAME"
    return (
        f"no validation was reached within {control.iterations} iterations ({seen}): raise --steps or --until, or "
        "name a figure with --metric NAME"
    )


def value_of(arm: ArmResult, chosen: Chosen) -> float:
    """The last reading of the figure that judges; NaN where it was never read."""
    for one in (*arm.figures, *arm.captured):
        if one.name == chosen.name and one.source == chosen.source:
            return one.values[-1] if one.values else math.nan
    return math.nan


def read_at(arm: ArmResult, chosen: Chosen) -> Sequence[int]:
    """Iterations at which it was read."""
    for one in (*arm.figures, *arm.captured):
        if one.name == chosen.name and one.source == chosen.source:
            return one.iterations
    return ()
