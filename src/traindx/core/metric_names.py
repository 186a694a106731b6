"""What the name of a reported figure says: whether it is a quality, which way is better, and of which split it is."""

from __future__ import annotations

import re
from functools import lru_cache


def _names(text: str) -> frozenset[str]:
    """Words of a text."""
    return frozenset(text.split())


HIGHER = _names(
    """
    acc accuracy dice dsc iou jaccard miou giou auc auroc auprc roc aupr ap map f1 fbeta precision recall sensitivity
    specificity sens spec psnr ssim msssim r2 ncc kappa mcc corr correlation pearson spearman ppv npv tpr tnr top1 top5
    cindex concordance bleu rouge agreement
    """
)
LOWER = _names(
    """
    loss mae mse rmse nrmse nmse mape rmae hd hd95 hausdorff assd asd msd tre perplexity ppl error err nll ce bce
    fid lpips wer cer distance l1 l2 fpr fnr brier ece deviation
    """
)
AT_MOST_ONE = _names(
    """
    acc accuracy dice dsc iou jaccard giou auc auroc auprc ap map f1 precision recall sensitivity specificity ssim
    msssim r2 ncc kappa mcc
    """
)
VALIDATION = _names(
    "val vali valid validation validate validating validated eval evaluation evaluating evaluated evaluate dev holdout"
)
TEST = _names("test testing tst tested")
TRAINING = _names("train training trn tr trained running batch")
_WEAK = _names("running batch")  # of training, where nothing says of which split
EXTREME = _names("best max min highest lowest record improved decreased increased")
# numbers that steer a program, or measure how it runs; none of them is a quality
SETTING = _names(
    """
    weight weights wt lr momentum threshold thresholds thresh thr smooth smoothing gamma alpha beta lambda eps epsilon
    temperature tau scale margin decay dropout warmup seed time eta elapsed mem memory grad norm params parameters
    ramp penalty patience config cfg args hparams hyperparameters settings options optimizer optimiser scheduler
    learning samples patients cases images subjects batches size count num
    """
)
COUNTERS = _names("epoch epochs ep step steps iter iters iteration iterations it num round fold")
MEANS = _names("mean avg average averaged overall macro total global foreground m all")
# true of one side only, so that a figure that weighs both sides goes before them
ONE_SIDED = _names("sens sensitivity spec specificity precision recall ppv npv tpr tnr fpr fnr top5 aacc")
LOSSES = _names("loss mse mae l1 l2 ce bce nll")
_KNOWN = HIGHER | LOWER | VALIDATION | TEST | TRAINING | EXTREME | SETTING | COUNTERS | MEANS


@lru_cache(maxsize=4096)
def words(name: str) -> list[str]:
    """``val_DiceMetric/2`` as ``val dice metric 2``, ``mIoU`` as ``mean iou``, ``acc1`` as ``acc 1``.

    What stands in brackets behind a name (``AP [area=all]``) tells figures apart, and says nothing of their kind.
    """
    found: list[str] = []
    for token in re.findall(r"[^\W_]+", name.partition(" [")[0].replace("hd_95", "hd95")):
        found += _split(token)
    return found


def _split(token: str) -> list[str]:
    plain = token.lower()
    if token[0] == "m" and plain[1:] in HIGHER | LOWER:
        return ["mean", plain[1:]]
    if plain in _KNOWN:
        return [plain]
    base = plain.rstrip("0123456789")
    if base != plain and base in _KNOWN:
        return [base, plain[len(base) :]]
    if base != plain and base[:1] == "m" and base[1:] in HIGHER | LOWER:
        return ["mean", base[1:], plain[len(base) :]]
    camel = token.replace("IoU", "Iou")
    parts = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*|\d+|[^\W\dA-Za-z]+", camel)
    return [part.lower() for part in parts]


def direction_of(name: str) -> bool | None:
    """True if a higher value is better, False if a lower one is, None where the name does not tell."""
    found = words(name)
    joined = {*found, "".join(found[-2:])}
    if joined & LOWER:
        return False
    return True if joined & HIGHER else None


def split_of(name: str) -> str:
    """``validation``, ``test`` or ``training`` as the name says; empty where it says nothing or several."""
    found = set(words(name))
    held_out = "validation" if found & VALIDATION else "test" if found & TEST else ""
    if held_out:
        return "" if found & (TRAINING - _WEAK) else held_out
    return "training" if found & TRAINING else ""


def is_setting(name: str) -> bool:
    """True of weights, rates, thresholds, times and sizes."""
    return bool(set(words(name)) & SETTING)


def is_extreme(name: str) -> bool:
    """True of the best so far, which cannot fall and depends on how often one looked."""
    return bool(set(words(name)) & EXTREME)
