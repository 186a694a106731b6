"""Tables from names to numbers in two data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from traindx.evidence import Evidence
from traindx.evidence.observed_items import NamesNumbered
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.probes.name_tables import tables_apart


class Words(Dataset):  # type: ignore[type-arg]
    """Numbers its names in the order in which they come."""

    def __init__(self, names: list[str], **more: Any) -> None:
        self.names_to_idx = {name: number for number, name in enumerate(dict.fromkeys(names))}
        vars(self).update(more)

    def __len__(self) -> int:
        return 9


class Encoder:
    """As scikit-learn's: its classes are the sorted names that it was fitted to."""

    def __init__(self, names: list[str]) -> None:
        self.classes_ = np.array(sorted(set(names)))


class Other(Dataset):  # type: ignore[type-arg]
    def __init__(self, **more: Any) -> None:
        vars(self).update(more)

    def __len__(self) -> int:
        return 9


def said(training: Any, other: Any) -> tuple[NamesNumbered | None, list[Finding]]:
    record = tables_apart(torch, training, other)
    evidence = Evidence()
    if record is not None:
        evidence.add(record)
    return record, catalogue()["D142"].check(evidence) if record is not None else []


def test_each_numbers_by_itself() -> None:
    _, (finding,) = said(Words(["lung", "liver", "heart"]), Subset(Words(["heart", "lung"]), [0, 1]))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers["apart"] == 2
    assert finding.location is not None


def test_encoders_and_lists() -> None:
    one, other = (Other(label_encoder=Encoder(names)) for names in (["a", "b", "c"], ["b", "c"]))
    _, (finding,) = said(one, other)
    assert finding.standing is Standing.DEMONSTRATED
    _, (finding,) = said(Other(classes=["a", "b", "c"]), Other(classes=["b", "c"]))
    assert finding.standing is Standing.SUSPECTED


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Words(["a", "b", "c"]), Words(["a", "b"])),  # one lacks the last: the numbers agree
        (Words(["a", "b"]), Words(["c", "d"])),
        (Other(class_map={"a": 3, "b": 7}), Other(class_map={"a": 7, "b": 3})),  # no numbers from 0 on
        (Other(label_counts={"a": 1, "b": 1}), Other(label_counts={"a": 2, "b": 2})),
        (Other(ids=["p1", "p2"]), Other(ids=["p2", "p1"])),
        (Other(label_files=list("abcdefghi")), Other(label_files=list("bacdefghi"))),  # as many as there are items
        (Other(ages={"a": 0, "b": 1}), Other(ages={"a": 1, "b": 0})),  # nothing says that it is a table
        (Words(["a", "b"]), Other(names_to_idx={"a": 1, "b": 0})),  # two kinds of data sets
    ],
)
def test_tables_that_agree_or_are_none(one: Any, other: Any) -> None:
    assert not said(one, other)[1]


def test_one_table_of_both() -> None:
    shared = {"a": 0, "b": 1}
    record, findings = said(Other(class_to_idx=shared), Other(class_to_idx=dict(shared)))
    assert record is not None
    assert not findings
