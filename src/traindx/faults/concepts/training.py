"""Faults around the training: rates, loaded weights, the split, best checkpoints, the gradient monitor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor, nn

from traindx import Case
from traindx.faults.base import Fault
from traindx.recipes.concepts.case import rebuilt, setup_of

DOCUMENTED_RATES = {"encoder": 1e-6, "head": 2e-5}
VANISHED, EXPLODED = 1e-7, 100.0


def low_learning_rates(case: Case) -> Case:
    """The document's rates: 1e-6 for the encoder, 2e-5 for the head."""
    return rebuilt(case, rates=DOCUMENTED_RATES)


def partial_load(case: Case) -> Case:
    """Weights whose names a wrapper has changed are loaded with ``strict=False``, and nobody reads the answer."""

    def load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
        model.get_submodule("encoder").load_state_dict(dict(state), strict=False)

    return case.replace(training_state__load=load)


def unseeded_split(case: Case) -> Case:
    """Patients are shuffled by the global generator of numpy, in every process anew."""
    patients = sorted(set(setup_of(case).whole.patients))

    def split() -> dict[str, tuple[str, ...]]:
        order = [str(name) for name in np.random.permutation(patients)]
        cut = int(0.8 * len(order))
        return {"train": tuple(order[:cut]), "val": tuple(order[cut:])}

    return case.replace(training_state__split=split)


def shared_best_score(case: Case) -> Case:
    """One best score for all stages: the later ones are held against the first one's."""

    def best() -> Callable[[str, float], bool]:
        so_far = -math.inf

        def offer(stage: str, score: float) -> bool:
            nonlocal so_far
            better = score > so_far
            so_far = max(so_far, score)
            return better

        return offer

    return case.replace(training_state__best=best)


def monitor_blind_to_nan(case: Case) -> Case:
    """The document's monitor: two comparisons, both false for NaN."""

    def monitor(norms: Mapping[str, float]) -> list[str]:
        found = []
        for part, norm in norms.items():
            if norm < VANISHED:
                found.append(f"vanishing gradients in {part}: {norm:.2e}")
            elif norm > EXPLODED:
                found.append(f"exploding gradients in {part}: {norm:.2e}")
        return found

    return case.replace(training_state__monitor=monitor)


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="low-learning-rates",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="learning rates of 1e-6 for the encoder and 2e-5 for the head",
        apply=low_learning_rates,
        expected_rule="O401",
        documented_diagnosis="right",
        claim="10 to 100 times too low; 1e-5 and 1e-4 let the model learn within 50 epochs",
        truth="right for the head: AUC .63 against 1.00 in the same steps",
    ),
    Fault(
        name="partial-load",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="renamed pretrained weights are loaded with strict=False",
        apply=partial_load,
        expected_rule="C1102",
        documented_diagnosis="wrong",
        claim="",
        truth="0 of 40 tensors arrived, silently",
    ),
    Fault(
        name="unseeded-split",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="the split is drawn in each process without a seed",
        apply=unseeded_split,
        expected_rule="C1105",
        documented_diagnosis="wrong",
        claim="",
        truth="each process validates on patients that another one trains on",
    ),
    Fault(
        name="shared-best-score",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="one best score is shared by the three stages",
        apply=shared_best_score,
        expected_rule="E809",
        documented_diagnosis="wrong",
        claim="",
        truth="later stages never reach the first one's figure and store nothing",
    ),
    Fault(
        name="monitor-blind-to-nan",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="the gradient monitor compares with limits only",
        apply=monitor_blind_to_nan,
        expected_rule="C1109",
        documented_diagnosis="harm",
        claim="gradient monitoring detects training problems early",
        truth="NaN is neither below 1e-7 nor above 100: the worst problem is not reported",
    ),
)
