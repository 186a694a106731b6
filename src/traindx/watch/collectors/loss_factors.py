"""What the arithmetic of scalars at the end of a loss multiplies its means by, read off its graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from traindx.core import compat
from traindx.watch.collectors.loss_terms import constant_factor, is_small, sums_up

MOST_NODES = 400
SAME = 1e-3  # relative difference of factors: rounding is a hundred times smaller


@dataclass(frozen=True)
class Factors:
    """What the arithmetic of scalars at the end of a loss multiplies its means by.

    Attributes:
        common: Factor of the whole loss, down to its first sum.
        largest: Greatest factor of any term.
        total: Sum of all of them.
        means: Some term of the greatest factor is a mean over many values, or a ratio of sums; and none is a sum.
        constants: Every constant met.
    """

    common: float
    largest: float
    total: float
    means: bool
    constants: tuple[float, ...]


def factors_of(root: Any, factor: float, notes: dict[int, Any], *, may_read: bool) -> Factors | None:
    """The factors of a loss's terms; None where there are too many, or none is known.

    Args:
        root: Node of the loss.
        factor: What to multiply all of them by (one over that of a gradient scaler).
        notes: Scalars of the iteration by sequence number.
        may_read: Saved tensors may be read.
    """
    waiting, constants = [(root, factor, True)], []
    leaves: list[tuple[Any, float]] = []
    common = factor
    for _ in range(MOST_NODES):
        if not waiting:
            break
        node, times, alone = waiting.pop()
        name = node.name()
        note = notes.get(compat.number(node))
        children = [child for child, _ in node.next_functions if child is not None]
        if not is_small(node) or (note is not None and note.whole):
            leaves.append((node, times))
        elif name in ("AddBackward0", "SubBackward0"):
            waiting += [(child, times, alone and len(children) == 1) for child in children]
        elif len(children) == 1 and name in ("MulBackward0", "DivBackward0"):
            constant = note.factor if note is not None else None
            if constant is None and may_read:
                constant = constant_factor(node)
            if constant is None:
                leaves.append((node, times))
                continue
            constants.append(constant)
            common = common * constant if alone else common
            waiting.append((children[0], times * constant, alone))
        elif len(children) == 1 and name.startswith(_SAME_VALUE):
            waiting.append((children[0], times, alone))
        else:
            leaves.append((node, times))
    if waiting or not leaves:
        return None
    sizes = [abs(times) for _, times in leaves]
    largest = max(sizes)
    sums = any(sums_up(node) for node, _ in leaves)
    main = [node for (node, _), size in zip(leaves, sizes, strict=True) if size > (1 - SAME) * largest]
    means = not sums and any(_is_mean(node) for node in main)
    return Factors(abs(common), largest, sum(sizes), means, tuple(constants))


_SAME_VALUE = (
    "RsubBackward1", "NegBackward0", "ToCopyBackward0", "CloneBackward0", "AliasBackward0", "ViewBackward0",
    "UnsafeViewBackward0", "ReshapeAliasBackward0", "SqueezeBackward", "UnsqueezeBackward0",
)  # fmt: skip


def _is_mean(node: Any) -> bool:
    """A mean over values, or a ratio of two results of the network, which knows no number of samples."""
    name = node.name()
    if name.startswith("MeanBackward"):
        return True
    if name == "DivBackward0":
        return all(child is not None for child, _ in node.next_functions)
    return bool(compat.saved(node, "reduction", None) == 1)  # at::Reduction::Mean
