"""Figures that a run has taken out of their range: a share above one, a correlation beyond one."""

from __future__ import annotations

import ast
import math

from traindx.watch.probes.functions.common import number
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.syntax import walk

ROUND_OFF = 1e-3
AS_LOSS = {"loss", "losses", "criterion", "penalty", "weight", "weights", "total", "sum", "count", "num", "running"}


def _value(trial: Trial) -> float:
    """The number that came out in the run.

    Raises:
        NotApplicableError: It is no number, or something that is learned from.
    """
    found = number(trial.torch, trial.call.result)
    trial.require(found is not None and math.isfinite(found) and not trial.call.learned)
    return found or 0.0


def _in_percent(trial: Trial) -> bool:
    """True if the sources multiply by a hundred, divide by one, or speak of percent anywhere."""
    tree = parsed(trial.call.code.co_filename)
    trees = [tree, *own_sources().values()] if tree is not None else []
    return not trees or any(_of_hundreds(node) for one in trees for node in walk(one))


def _of_hundreds(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        return any(_is_hundred(side) for side in (node.left, node.right))
    if isinstance(node, ast.AugAssign):
        return _is_hundred(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr.strip("_") in ("mul", "div", "multiply") and any(_is_hundred(one) for one in node.args)
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and "percent" in node.value.lower()


def _is_hundred(node: ast.AST) -> bool:
    """100 or 0.01, also as a part of a quotient: ``100.0 / count``."""
    if isinstance(node, ast.BinOp):
        return any(_is_hundred(side) for side in (node.left, node.right))
    return isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value in (100, 0.01)


@entry(
    "share-within-its-range",
    "figure",
    "share of what is right",
    "lies between 0 and 1",
    names={
        "accuracy", "acc", "accuracies", "f1", "fscore", "f1score", "sensitivity", "specificity", "recall", "auc",
        "auroc", "rocauc", "iou", "miou", "jaccard", "dice", "dsc", "ppv", "npv",
    },
    unless={*AS_LOSS, "box", "boxes", "cost", "percent", "pct", "log", "cosh", "topk", "correct", "hits", "sums"},
    remedy="Divide by what was counted: samples and not batches, or the part that is meant and not the whole.",
    source="Fawcett, An introduction to ROC analysis, 2006, section 2",
)  # fmt: skip
def share_within_its_range(trial: Trial) -> None:
    """A single number that is divided by something, in a file that counts in no percent."""
    value = _value(trial)
    trial.require(not _in_percent(trial) and _divides(trial))
    trial.expect(value <= 1 + ROUND_OFF, "what it was given in this run", f"{value:.4g} came out")


def _divides(trial: Trial) -> bool:
    """Something is divided where the figure is made; what is only counted is no share yet."""
    tree = parsed(trial.call.code.co_filename)
    first = trial.call.code.co_firstlineno
    for node in walk(tree) if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.Assign):
            begins = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
            if begins == first:
                return any(isinstance(one, ast.Div) for one in walk(node))
    return False


@entry(
    "correlation-within-its-range",
    "figure",
    "correlation",
    "lies between -1 and 1",
    names={"corr", "correlation", "pearson", "pearsonr", "spearman", "spearmanr", "pcc", "corrcoef"},
    unless={*AS_LOSS, "cross", "auto", "map", "volume", "matrix", "cost", "length", "window"},
    remedy="Covariance divided by the product of both standard deviations, with the same number of degrees of freedom.",
    source="Pearson, Note on Regression and Inheritance, 1895",
)
def correlation_within_its_range(trial: Trial) -> None:
    """A single number; whole ones above 1 are counts (``corr`` of *correct*)."""
    value = _value(trial)
    trial.require(abs(value) <= 1 or not value.is_integer())
    trial.expect(abs(value) <= 1 + ROUND_OFF, "what it was given in this run", f"{value:.4g} came out")
