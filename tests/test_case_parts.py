"""A case holds what a stranger would fill in, and further parts one of a kind."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

import traindx as dx
from traindx.case_parts import PARTS
from traindx.errors import CaseError


def case(**more):
    return dx.Case(model=lambda: None, train=[1], **more)


def test_a_stranger_fills_in_no_more_than_fourteen_fields():
    assert len(fields(dx.Case)) <= 14


@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_part_goes_by_its_name(name):
    empty = case()
    assert empty.has(name) is (name == "authoring")  # which is there, and offers nothing
    assert not empty.parts


def test_parts_are_exchanged_taken_away_and_changed_within_by_name():
    one = case(parts=(dx.DataRange(0.0, 1.0), None, dx.Deployment(selects="val_loss")))
    assert one.data_range == (0.0, 1.0)
    assert one.has("deployment.selects")
    assert not one.has("deployment.picture")
    other = one.replace(data_range=(-1.0, 1.0), deployment__selects="val/dice", steps=7)
    assert (other.data_range, other.deployment.selects, other.steps) == ((-1.0, 1.0), "val/dice", 7)
    assert one.data_range == (0.0, 1.0)  # cases are immutable
    assert other.replace(data_range=None).data_range is None
    assert len(other.parts) == 2


def test_what_the_author_offers_is_added_to_what_is_there():
    offered = case(parts=(dx.Authoring(extras={"plan": 1}),)).replace(treatments={"window": lambda c: c})
    assert set(offered.treatments) == {"window"}
    assert offered.extras == {"plan": 1}
    assert case().replace(contexts=(lambda: None,)).contexts


def test_two_of_a_kind_and_strangers_are_refused():
    with pytest.raises(CaseError, match="two parts of type DataRange"):
        case(parts=(dx.DataRange(0, 1), dx.DataRange(0, 2)))
    with pytest.raises(CaseError, match="a part of type dict"):
        case(parts=({"low": 0},))
    with pytest.raises(CaseError, match="has no deployment"):
        case().replace(deployment__selects="x")


def diffusion(read_call):
    return dx.Diffusion(torch.linspace(0.99, 0.01, 10), "v", lambda *a: None, lambda *a: None, read_call=read_call)


def test_a_read_call_that_reads_its_arguments_is_believed():
    x, t = torch.randn(2, 1, 4, 4), torch.tensor([3, 4])
    read = diffusion(lambda args, kwargs: (args[0], kwargs["time"])).read_call
    assert read((x,), {"time": t}) == (x, t)
    channels = diffusion(lambda args, kwargs: (args[0][:, :1], args[1])).read_call  # conditions stacked behind it
    assert torch.equal(channels((torch.cat([x, x], 1), t), {})[0], x)


def test_a_read_call_that_remembers_is_refused_with_its_line():
    remembered = torch.randn(2, 1, 4, 4)
    for wrong, why in (
        (lambda args, kwargs: (remembered, args[1]), "not a function of its arguments"),
        (lambda args, kwargs: args[0], "returned Tensor"),
    ):
        with pytest.raises(CaseError, match=why) as refused:
            diffusion(wrong).read_call((torch.randn(2, 1, 4, 4), torch.tensor([1, 2])), {})
        assert refused.value.where.endswith(f"test_case_parts.py:{wrong.__code__.co_firstlineno}")
