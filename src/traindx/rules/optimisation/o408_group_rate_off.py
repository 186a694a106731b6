"""O408 parameter-group-lr-off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import OptimizerSeen, ParameterGroupSeen
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Nothing, Threshold, rule


def _owner(group: ParameterGroupSeen) -> tuple[object, ...]:
    """The optimiser that a group belongs to; one line may make several, as for folds."""
    return (group.where, group.optimizer, group.number)


def _groups_of_one_optimizer(evidence: Evidence, limits: Limits) -> Nothing | None:
    """Groups of several optimisers are not held against each other."""
    watched = Counter(
        _owner(one)
        for one in evidence.of(ParameterGroupSeen)
        if len(one.gradient_norms) >= 3 and max(one.gradient_norms) > 0
    )
    if max(watched.values(), default=0) >= 2:
        return None
    thing = "second parameter group"
    return Nothing(f"there are no {thing}", thing)


@rule(
    "O408",
    "parameter-group-lr-off",
    Severity.MAJOR,
    needs=(ParameterGroupSeen,),
    looked_at=_groups_of_one_optimizer,
    factor=Threshold(20.0, "rate of the fastest group over this one; discriminative fine-tuning uses 3 to 10 a stage"),
    gone=Threshold(1e-3, "of its largest rate is what a group has left, while another one keeps a tenth of its own"),
    ratio=Threshold(5e-6, "update over weight a step, below which a group needs 200,000 steps to change by itself"),
)
def group_rate_off(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """One parameter group has a learning rate far below the others and does not move.

    What it finds:
        A group whose rate is `factor` times smaller than that of another group of the same optimiser and whose weights
        practically stay, although gradients arrive; or a group whose rate is zero all the time; or one whose rate goes
        to nothing while that of another stays (a factor that is multiplied in at every step instead of once).
    Why it stops learning:
        That part of the network keeps its initial weights; if these are random, the rest is fed with noise.
    Evidence it needs:
        ParameterGroupSeen (a watched script).
    How it decides:
        The rates, and the largest update-to-weight ratio of the group over the watched iterations. `suspected`, since
        a pretrained part may be meant to stay; `demonstrated` for a rate of exactly zero.
    Remedy:
        Give the group a rate within a factor of ten of the others, or freeze it on purpose.
    Trial it proposes:
        `learning-rate` with a factor, for that group.
    Known false positives:
        A pretrained backbone that is meant to stay.
    References:
        Howard and Ruder, Universal Language Model Fine-tuning, ACL 2018 (discriminative learning rates).
    """
    groups = evidence.of(ParameterGroupSeen)
    for group in groups:
        same = [other for other in groups if _owner(other) == _owner(group)]
        fastest = max(other.largest_lr for other in same)
        if len(same) < 2 or len(group.gradient_norms) < 3 or max(group.gradient_norms) <= 0:
            continue
        keeps = any(other.lr >= 0.1 * other.largest_lr > 0 for other in same)
        set_at = [
            one.rate_set
            for one in evidence.of(OptimizerSeen)
            if one.where == group.where and one.optimizer == group.optimizer
        ]
        gone = [one for one in same if one.lr < limits.gone * one.largest_lr]
        if keeps and group in gone:
            if group is not gone[0]:  # of one cause, said with the first one
                continue
            more = f" (and those of {len(gone) - 1} more)" if len(gone) > 1 else ""
            yield Found(
                variant="rate-gone",
                message=f"The learning rate of parameter group {group.group}"
                + (f" ({group.name})" if group.name else "")
                + f"{more} fell from {group.largest_lr:g} to {group.lr:.2g} over the iterations seen, and another "
                "group's did not: its weights stand still from there on.",
                location=next((line for line in set_at if line is not None), group.where),
                numbers={"largest": group.largest_lr, "last": group.lr},
                remedy="Multiply a group's rate by its factor once, when the optimiser is made.",
            )
            continue
        stands = group.largest_lr == 0.0
        ratio = max(group.update_ratios, default=0.0)
        if not stands and (group.largest_lr * limits.factor > fastest or ratio >= limits.ratio):
            continue
        title = f"parameter group {group.group}" + (f" ({group.name})" if group.name else "")
        detail = (
            "so it never moves"
            if stands
            else f"{fastest / group.largest_lr:.0f} times below another group's, and a step changes its weights by "
            f"{ratio:.1e} of their size at most"
        )
        yield Found(
            message=f"The learning rate of {title} is {group.largest_lr:g}, {detail}.",
            standing=Standing.DEMONSTRATED if stands else Standing.SUSPECTED,
            location=group.where,
            numbers={"learning_rate": group.largest_lr, "fastest": fastest, "update_over_weight": ratio},
            remedy="Give it a rate within a factor of ten of the others, or freeze it on purpose.",
            proposals=(
                Proposal(
                    treatment="learning-rate",
                    parameters={"factor": min(100.0, fastest / 3 / group.largest_lr), "group": group.group},
                ),
            )
            if not stands
            else (),
        )
