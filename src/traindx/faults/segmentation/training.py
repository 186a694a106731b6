"""Faults of the training loop: a schedule that overwrites the rate, a validation that is a lottery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from traindx import Case
from traindx.faults.base import Fault
from traindx.recipes.segmentation.case import Batch


def scheduler_overwrites_lr(case: Case) -> Case:
    """The rate is set by hand, and the schedule built before that puts its own back at the first step: 1000x less."""

    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        assert case.optimizer is not None
        made = case.optimizer(parameters)
        wanted = [group["lr"] for group in made.param_groups]
        for group in made.param_groups:
            group["lr"] = group["lr"] / 1000
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(made, T_max=10 * case.steps)
        for group, lr in zip(made.param_groups, wanted, strict=True):
            group["lr"] = lr  # the manual rate, which the schedule knows nothing of
        made.register_step_post_hook(lambda *_: _step(schedule))
        return made

    return case.replace(optimizer=optimizer)


def _step(schedule: torch.optim.lr_scheduler.CosineAnnealingLR) -> None:
    """One step of the schedule, in its closed form: from its own base rates and not from the current ones."""
    schedule.last_epoch += 1
    for group, lr in zip(schedule.optimizer.param_groups, schedule._get_closed_form_lr(), strict=True):
        group["lr"] = lr


def random_validation_patch(case: Case) -> Case:
    """Validation cuts one random patch a case, drawn anew at each pass: the score of a fixed model jumps."""

    def batches() -> Iterator[Batch]:
        for batch in case.batches("val"):
            shape = batch["image"].shape[2:]
            size = [max(4, n // 3) for n in shape]
            start = [int(torch.randint(n - s + 1, ())) for n, s in zip(shape, size, strict=True)]
            place = tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))
            whole = (slice(None), slice(None), *place)
            yield {**batch, "image": batch["image"][whole], "label": batch["label"][whole]}

    return case.replace(val=batches)


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="scheduler-overwrites-lr",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="a schedule built earlier puts its own learning rate back",
        apply=scheduler_overwrites_lr,
        expected_rule="O407",
        documented_diagnosis="wrong",
        claim="restart with another configuration",
        truth="the rate set by hand lasts for one step",
    ),
    Fault(
        name="random-validation-patch",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="validation scores one random patch a case",
        apply=random_validation_patch,
        expected_rule="E808",
        documented_diagnosis="wrong",
        claim="",
        truth="the same image scores between .09 and .78: the best checkpoint is a lucky draw",
    ),
)
