"""Loss functions: what their numbers have to be."""

from __future__ import annotations

from typing import Any

from traindx.watch.contracts.base import IN_ORDER, Broken, Check, Given, Said
from traindx.watch.contracts.numbers import ROUND_OFF, extremes, few_values, sums_to_one, thinned_but
from traindx.watch.runtime.stats import sample

POSITIVE = ("SoftplusBackward", "ExpBackward", "ReluBackward", "AbsBackward", "SquareBackward")
LOSS_SLACK = 0.02  # by which probabilities may leave 0 to 1: interpolation and half precision stay within
DIFFERENT = 0.01  # of a sum of soft targets
UNNORMALISED = 0.1  # of the logarithm of a sum


def _floats(*tensors: Any) -> bool:
    return all(one is not None and one.is_floating_point() and one.numel() > 1 for one in tensors)


def _probabilities(tensor: Any) -> str:
    """What shows that these are probabilities and no logarithms of them; "" where nothing does."""
    low, high = extremes(tensor)
    if low < 0 or high <= ROUND_OFF or high > 1 + LOSS_SLACK:
        return ""
    axis = sums_to_one(tensor)
    return f"probabilities (from {low:.2g} to {high:.2g}, with a sum of 1 over axis {axis})" if axis >= 0 else ""


def kl_input(given: Given) -> Said:
    """Logarithms of probabilities are never above 0."""
    tensor = given.tensor("input")
    if not _floats(tensor):
        return None
    _, high = extremes(tensor)
    if high <= ROUND_OFF:
        return IN_ORDER
    return Broken(_probabilities(tensor)) if _probabilities(tensor) else None


def kl_target(given: Given) -> Said:
    """Probabilities, or their logarithms if that was said."""
    tensor = given.tensor("target")
    if not _floats(tensor):
        return None
    low, high = extremes(tensor)
    if given.named.get("log_target"):
        shown = _probabilities(tensor)
        return Broken(f"{shown} as its target with log_target=True") if shown else IN_ORDER
    if low < -ROUND_OFF and high <= ROUND_OFF:
        return Broken(f"a target from {low:.3g} to {high:.2g}, which are logarithms, without log_target=True")
    return IN_ORDER if low >= 0 else None


def signs(given: Given) -> Said:
    """Labels of 1 and -1."""
    target = given.tensor("target")
    values = few_values(target, 3) if target is not None else ()
    if not values or not set(values) <= {-1.0, 0.0, 1.0} or values == (1.0,):
        return None
    return IN_ORDER if -1.0 in values else Broken("labels of " + " and ".join(f"{one:g}" for one in values))


def soft_targets(given: Given) -> Said:
    """Class probabilities sum to one."""
    logits, target = given.tensor("input"), given.tensor("target")
    if not _floats(logits, target) or target.shape != logits.shape or target.requires_grad:
        return None
    axis = 1 if target.dim() > 1 else 0
    sums = thinned_but(target, axis).sum(axis).reshape(-1)
    sums = sums[sums.abs() > DIFFERENT]
    if not sums.numel():
        return None
    off = float(((sums - 1).abs() > DIFFERENT).double().mean())
    if off <= 0.5:
        return IN_ORDER
    return Broken(f"targets whose classes sum to {float(sums.min()):.3g} to {float(sums.max()):.3g}")


def log_rate(given: Given) -> Said:
    """A rate whose logarithm is expected."""
    tensor = given.tensor("input")
    if not _floats(tensor):
        return None
    if not given.named.get("log_input", True):
        return IN_ORDER
    name = tensor.grad_fn.name() if tensor.grad_fn is not None else ""
    if not name:
        return None
    if not name.startswith(POSITIVE):
        return IN_ORDER
    return Broken(f"what comes out of {name.split('Backward')[0].lower()} and is never below 0, with log_input=True")


def activated(given: Given) -> Said:
    """An overlap needs values from 0 to 1."""
    loss, tensor = given.module, given.tensor("input")
    if not _floats(tensor) or not hasattr(loss, "sigmoid") or not hasattr(loss, "softmax"):
        return None
    if loss.sigmoid or loss.softmax or getattr(loss, "other_act", None) is not None:
        return IN_ORDER
    low, high = extremes(tensor)
    if low >= -LOSS_SLACK and high <= 1 + LOSS_SLACK:
        return IN_ORDER
    return Broken(f"values from {low:.3g} to {high:.3g} and told to apply no activation")


def one_hot(given: Given) -> Said:
    """A channel of zeros and ones a class."""
    loss, target = given.module, given.tensor("target")
    if target is None or not hasattr(loss, "to_onehot_y"):
        return None
    if loss.to_onehot_y:
        return IN_ORDER
    values = sample(target)
    high = float(values.max()) if values.numel() else 0.0
    if high <= 1 + LOSS_SLACK:
        return IN_ORDER
    if not bool((values == values.round()).all()):
        return None
    return Broken(f"class numbers up to {high:g} in {target.shape[1] if target.dim() > 1 else 1} channel(s)")


def ctc_scores(given: Given) -> Said:
    """Every step is a distribution over the classes."""
    tensor = given.tensor("log_probs")
    if not _floats(tensor) or tensor.dim() < 2 or tensor.shape[-1] < 2:
        return None
    off = thinned_but(tensor, tensor.dim() - 1).logsumexp(-1).abs()
    if float((off > UNNORMALISED).double().mean()) < 0.9:
        return IN_ORDER
    return Broken(f"scores whose exponentials sum to {float(off.median().exp()):.3g} or its inverse instead of 1")


def ctc_blank(given: Given) -> Said:
    """The blank is no target."""
    targets, lengths = given.tensor("targets"), given.named.get("target_lengths")
    blank = given.named.get("blank", 0)
    if targets is None or not isinstance(blank, int) or lengths is None:
        return None
    if targets.dim() == 1:
        read = targets
    else:
        sizes = lengths if isinstance(lengths, given.torch.Tensor) else given.torch.tensor(list(lengths))
        steps = given.torch.arange(targets.shape[1], device=targets.device)
        read = targets[steps[None] < sizes.to(targets.device).reshape(-1)[:, None]]
    share = float((read == blank).double().mean()) if read.numel() else 0.0
    return Broken(f"targets of which {100 * share:.0f} % are {blank}, the blank") if share else IN_ORDER


def reduce_flag(given: Given) -> Said:
    """The flag of old is true or false; the name of a way to reduce is true."""
    asked = given.named.get("reduce")
    if not isinstance(asked, str) or asked == "mean":
        return IN_ORDER if asked is None else None
    return Broken(f"reduce={asked!r}, a text, which is true, and gives their mean")


_F = "torch.nn.functional."
_REDUCED = (
    *("binary_cross_entropy_with_logits", "binary_cross_entropy", "cross_entropy", "nll_loss", "mse_loss", "l1_loss"),
    *("smooth_l1_loss", "kl_div", "soft_margin_loss", "multi_margin_loss", "poisson_nll_loss"),
)
_CTC = ("log_probs", "targets", "input_lengths", "target_lengths", "blank")
_KL = ("input", "target", "size_average", "reduce", "reduction", "log_target")
_MONAI = ("monai.losses.dice.DiceLoss", "monai.losses.dice.GeneralizedDiceLoss", "monai.losses.tversky.TverskyLoss")

FUNCTIONS = (
    Check("kl-div-of-probabilities", (_F + "kl_div",), _KL, kl_input),
    Check("kl-div-target-in-other-space", (_F + "kl_div",), _KL, kl_target),
    Check(
        "zeros-for-minus-ones",
        (_F + "cosine_embedding_loss", _F + "margin_ranking_loss"),
        ("input1", "input2", "target"),
        signs,
    ),
    Check("zeros-for-minus-ones", (_F + "hinge_embedding_loss", _F + "soft_margin_loss"), ("input", "target"), signs),
    Check("soft-targets-off-one", (_F + "cross_entropy",), ("input", "target"), soft_targets),
    Check("poisson-rate-for-its-logarithm", (_F + "poisson_nll_loss",), ("input", "target", "log_input"), log_rate),
    Check("reduce-is-a-flag", tuple(_F + name for name in _REDUCED), ("input", "target"), reduce_flag),
    Check("ctc-of-unnormalised-scores", (_F + "ctc_loss",), _CTC, ctc_scores),
    Check("ctc-blank-among-targets", (_F + "ctc_loss",), _CTC, ctc_blank),
)
MODULES = (
    Check("overlap-loss-of-logits", _MONAI, ("input", "target"), activated),
    Check("overlap-loss-of-class-numbers", _MONAI, ("input", "target"), one_hot),
)
