"""Which values a figure can take by definition, as far as its name says what it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from traindx.core.metric_names import HIGHER, LOWER, words


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SHARES = _names(
    """
    acc accuracy dice dsc iou jaccard auc auroc auprc aupr f1 recall precision sensitivity specificity ppv npv tpr tnr
    fpr fnr cindex
    """
)
"""From 0 to 1, or 0 to 100 in percent (a c-index, an area under a ROC curve: Hanley and McNeil, 1982)."""
CORRELATIONS = _names("ssim msssim kappa mcc ncc pearson spearman")
"""From -1 to 1 (Wang et al., 2004; Cohen, 1960; Matthews, 1975)."""
AT_MOST_ONE = _names("r2")
"""At most 1, and as low as one likes."""
NEVER_NEGATIVE = _names("mae mse rmse nrmse nmse mape rmae hd hd95 hausdorff assd asd std")
"""Errors, distances and spreads."""
BEHIND = _names(
    "score scores coefficient coef index mean avg average value percent pct metric class overall val train test"
)
"""Words that may stand behind."""
BROKEN = _names(
    """
    loss losses log ln diff difference delta change gain improvement sum total cumulative accumulated running weight
    weighted count num number n lr threshold thresh epoch epochs step steps iter patience time neg negative minus
    inverse var per times ratio factor size scaled sqrt entropy penalty term objective energy cost reward adjusted
    at over than above below under in steps curve z t p relative x percentile rank square squared
    learning gradient grad norm feature features map maps param params image images samples
    """
)
"""Words beside which a name means something else."""


@dataclass(frozen=True)
class Range:
    """What a figure can be.

    Attributes:
        called: The word that says so.
        least: Least value, None where there is none.
        most: Greatest value, None where there is none.
        percent: It may be given in percent, up to 100.
    """

    called: str
    least: float | None
    most: float | None
    percent: bool = False


@lru_cache(maxsize=2048)
def range_of(name: str) -> Range | None:
    """The range of a figure of that name; None where the name leaves it open."""
    said = words(name)
    if not said or set(said) & BROKEN:
        return None
    known = [place for place, word in enumerate(said) if word in HIGHER | LOWER | {"std"}]
    if not known or any(word not in BEHIND and not word.isdigit() for word in said[known[-1] + 1 :]):
        return None
    kinds = [_kind(said[place]) for place in known]
    first = kinds[-1]
    if first is None or any(one is None or one[1:] != first[1:] for one in kinds):
        return None
    return Range(*first)


def _kind(word: str) -> tuple[str, float | None, float | None, bool] | None:
    if word in SHARES:
        return word, 0.0, 1.0, True
    if word in CORRELATIONS:
        return word, -1.0, 1.0, True
    if word in AT_MOST_ONE:
        return word, None, 1.0, False
    return (word, 0.0, None, False) if word in NEVER_NEGATIVE else None
