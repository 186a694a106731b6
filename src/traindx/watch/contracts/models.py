"""Models and losses that libraries ship: what they do themselves, and what the caller has to give."""

from __future__ import annotations

import math
from typing import Any

from traindx.watch.collectors.given_masks import LEAST_RUN
from traindx.watch.contracts.base import IN_ORDER, Broken, Check, Given, Said
from traindx.watch.runtime.stats import plain, sample

IGNORED = -100
ACTIVATED = ("SigmoidBackward", "SoftmaxBackward")
NORMALISED = -0.3  # no image in 0 to 1 has values below
RATIO = 2.0  # of two classes, from which one is commoner
ALIKE = 0.2  # difference of logarithms of two ratios that are the same one


def shifted(given: Given) -> Said:
    """Labels equal the input."""
    ids, labels = given.tensor("input_ids"), given.tensor("labels")
    if ids is None or labels is None or ids.dim() != 2 or ids.shape != labels.shape or ids.shape[1] < 4:
        return None
    if not type(given.module).__name__.endswith(("LMHeadModel", "ForCausalLM")):
        return None
    ids, labels = plain(ids), plain(labels)
    known = labels[:, :-1] != IGNORED
    if not bool(known.any()):
        return None
    same = float((labels == ids)[:, :-1][known].double().mean())
    ahead = float((labels[:, :-1] == ids[:, 1:])[known].double().mean())
    if same > 0.9:
        return IN_ORDER
    return Broken("labels that are its input_ids moved by one step") if ahead > 0.9 and same < 0.7 else None


def _padding(given: Given) -> Any:
    """Where the input is padding, in runs at one end; None where there is none or where it may be text."""
    ids, config = given.tensor("input_ids"), getattr(given.module, "config", None)
    pad = getattr(config, "pad_token_id", None)
    if ids is None or ids.dim() != 2 or ids.shape[0] < 2 or not isinstance(pad, int):
        return None
    if pad == getattr(config, "eos_token_id", None):
        return None
    where = plain(ids) == pad
    for side in (where, where.flip(1)):
        runs = side.flip(1).long().cumprod(1).sum(1)
        if int((runs >= LEAST_RUN).sum()) and len(runs.unique()) >= 2 and bool((where.sum(1) == runs).all()):
            return where
    return None


def mask_given(given: Given) -> Said:
    """Some mask, where there is padding."""
    where = _padding(given)
    if where is None or not getattr(given.module.config, "num_attention_heads", 0):
        return None
    if given.tensor("attention_mask") is not None:
        return IN_ORDER
    return Broken(f"{int(where.any(1).sum())} of {len(where)} padded sequences and no attention_mask")


def mask_right(given: Given) -> Said:
    """One for text."""
    where, mask = _padding(given), given.tensor("attention_mask")
    if where is None or mask is None or mask.shape != where.shape:
        return None
    kept = plain(mask) != 0
    if bool((kept == where).all()):
        return Broken("an attention_mask that is 1 for padding and 0 for everything else")
    return IN_ORDER if not bool((kept & where).any()) else None


def background(given: Given) -> Said:
    """Labels from one."""
    targets = given.named.get("targets")
    if not isinstance(targets, list | tuple) or not hasattr(given.module, "roi_heads"):
        return None
    labels = [one.get("labels") for one in targets if isinstance(one, dict)]
    found = [plain(one).reshape(-1) for one in labels if isinstance(one, given.torch.Tensor) and one.numel()]
    if not found:
        return None
    values = given.torch.cat(found)
    share = float((values == 0).double().mean())
    return Broken(f"boxes of which {100 * share:.0f} % have the label 0") if share else IN_ORDER


def raw_images(given: Given) -> Said:
    """Images in 0 to 1, unless the model's own normalisation does nothing."""
    images, own = given.named.get("images"), getattr(given.module, "transform", None)
    if not isinstance(images, list | tuple) or not images or own is None:
        return None
    if all(float(one) == 0 for one in getattr(own, "image_mean", ())):
        return None
    low = min(float(sample(one).min()) for one in images[:4])
    return Broken(f"images with values down to {low:.2g}") if low < NORMALISED else IN_ORDER


def logits(given: Given) -> Said:
    """Not what comes out of the activation."""
    tensor = given.tensor("input", "y_pred")
    if tensor is None or getattr(given.module, "from_logits", True) is False:
        return None
    name = tensor.grad_fn.name() if tensor.grad_fn is not None else ""
    if not name:
        return None
    if not name.startswith(ACTIVATED):
        return IN_ORDER
    return Broken(f"the output of {name.split('Backward')[0].lower()}")


def shares(given: Given) -> Said:
    """An overlap that was told that it gets probabilities."""
    tensor = given.tensor("y_pred")
    if tensor is None or getattr(given.module, "from_logits", None) is not False:
        return None
    values = sample(tensor)
    low, high = float(values.min()), float(values.max())
    if low >= -0.02 and high <= 1.02:
        return IN_ORDER
    return Broken(f"values from {low:.3g} to {high:.3g} with from_logits=False")


def class_weights(given: Given) -> Said:
    """Weights of classes do not follow their frequencies."""
    torch, weight, target = given.torch, given.tensor("weight"), given.tensor("target")
    if weight is None or target is None or target.is_floating_point() or weight.dim() != 1 or len(weight) < 2:
        return None
    labels = plain(target).reshape(-1)[:65536]
    labels = labels[(labels >= 0) & (labels < len(weight))]
    counts = torch.bincount(labels.long(), minlength=len(weight)).double().cpu()
    seen = (counts >= 2) & (plain(weight).double().cpu() > 0)
    if int(seen.sum()) < 2:
        return None
    logs = counts[seen].log(), plain(weight).double().cpu()[seen].log()
    return _follows(*(one - one.mean() for one in logs))


def _follows(counts: Any, weights: Any) -> Said:
    if float(counts.max() - counts.min()) < math.log(RATIO) or float(weights.max() - weights.min()) < math.log(1.3):
        return None
    slope = float((counts * weights).sum() / counts.square().sum())
    scatter = float((weights - counts).abs().max())
    if slope <= 0:
        return IN_ORDER
    if abs(slope - 1) > 0.25 or scatter > 0.25 * float(counts.max() - counts.min()) + ALIKE:
        return None
    rare, common = int(counts.argmin()), int(counts.argmax())
    more, heavier = (math.exp(float(one[common] - one[rare])) for one in (counts, weights))
    return Broken(
        f"weights that are as the frequencies: the commonest class has {more:.2g} times as many samples as the rarest "
        f"and {heavier:.2g} times its weight"
    )


def positive_weight(given: Given) -> Said:
    """Negatives over positives, not the other way round."""
    weight, target = given.tensor("pos_weight"), given.tensor("target")
    if weight is None or target is None or weight.numel() != 1 or target.numel() < 32:
        return None
    share = float((sample(target) > 0.5).double().mean())
    value = float(weight)
    if not 0.02 < share < 0.98 or value <= 0 or abs(math.log(share / (1 - share))) < math.log(RATIO):
        return None
    odds = math.log(share / (1 - share))
    if math.log(value) * odds <= 0:
        return IN_ORDER
    if abs(math.log(value) - odds) > ALIKE + 0.2 * abs(odds):
        return None
    return Broken(f"pos_weight={value:.3g} with {100 * share:.0f} % positives, which is positives over negatives")


_HF = ("transformers.modeling_utils.PreTrainedModel",)
_DETECTOR = ("torchvision.models.detection.generalized_rcnn.GeneralizedRCNN",)
_SMP = tuple(
    f"segmentation_models_pytorch.losses.{file}.{name}"
    for file, name in (("dice", "DiceLoss"), ("jaccard", "JaccardLoss"), ("tversky", "TverskyLoss"))
)
_OF_HF = ("input_ids", "attention_mask")
MODULES = (
    Check("labels-shifted-twice", _HF, _OF_HF, shifted),
    Check("padding-attended-to", _HF, _OF_HF, mask_given),
    Check("attention-mask-inverted", _HF, _OF_HF, mask_right),
    Check("class-zero-is-background", _DETECTOR, ("images", "targets"), background),
    Check("normalised-before-the-detector", _DETECTOR, ("images", "targets"), raw_images),
    Check("probabilities-for-logits", ("monai.losses.focal_loss.FocalLoss",), ("input", "target"), logits),
    Check("probabilities-for-logits", _SMP, ("y_pred", "y_true"), logits),
    Check("overlap-loss-of-logits", _SMP, ("y_pred", "y_true"), shares),
)
_F = "torch.nn.functional."
FUNCTIONS = (
    Check("commoner-class-weighted-up", (_F + "cross_entropy",), ("input", "target", "weight"), class_weights),
    Check(
        "commoner-class-weighted-up",
        (_F + "binary_cross_entropy_with_logits",),
        ("input", "target", "weight", "size_average", "reduce", "reduction", "pos_weight"),
        positive_weight,
    ),
)
