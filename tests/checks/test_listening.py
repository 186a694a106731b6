"""Standing in for a network: the noisy image and the time are found among any arguments, and nothing is left behind."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from traindx.checks.diffusion.call_recorder import (
    Layout,
    OutputForm,
    UnexaminedError,
    output_form,
    prediction_in,
    remember,
    stand_in,
    survey,
)
from traindx.core.time_convention import affine, conventions, readings

SHAPE = (2, 1, 6, 6)


class Plain:
    read_call = None


def calls(make):
    return [remember(*make(index)) for index in range(3)]


def image(index):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(index))


CONDITION = image(77)
TIME = {
    "scalar": lambda i: 900 - i,
    "batch": lambda i: torch.full((2,), 900 - i),
    "column": lambda i: torch.full((2, 1), 9.0 - i),
}


@pytest.mark.parametrize("form", TIME)
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda i, t: ((image(i), t), {}), (0, None, 1)),
        (lambda i, t: ((CONDITION, image(i), t), {}), (1, None, 2)),
        (lambda i, t: ((image(i), CONDITION, torch.tensor([1, 0]), t), {}), (0, None, 3)),
        (lambda i, t: ((image(i),), {"context": CONDITION, "timestep": t}), (0, None, "timestep")),
        (lambda i, t: ((), {"x": image(i), "labels": torch.zeros(2), "t": t}), ("x", None, "t")),
        (lambda i, t: ((torch.cat((image(i), CONDITION), 1), t), {}), (0, (0, 1), 1)),
        (lambda i, t: ((torch.cat((CONDITION, image(i)), 1), t), {}), (0, (1, 2), 1)),
    ],
    ids=[
        "x, t",
        "condition first",
        "label before t",
        "keywords",
        "all keywords",
        "concatenated",
        "concatenated behind",
    ],
)
def test_image_and_time_are_found_by_what_changes(make, expected, form):
    layout = survey(calls(lambda i: make(i, TIME[form](i))), SHAPE, Plain())
    assert (layout.image, layout.channels, layout.time) == expected
    args, kwargs = make(5, TIME[form](5))
    assert torch.equal(layout.x_t(args, kwargs), image(5))


def test_a_call_without_an_image_of_the_targets_shape_says_what_it_saw():
    with pytest.raises(UnexaminedError, match=r"none of the network's arguments has the shape .*\(2, 9\)"):
        survey(calls(lambda i: ((torch.zeros(2, 9), i), {})), SHAPE, Plain())
    with pytest.raises(UnexaminedError, match="never called"):
        survey([], SHAPE, Plain())


def test_a_vector_embedding_is_no_time():
    layout = survey(calls(lambda i: ((image(i), torch.randn(2, 32)), {})), SHAPE, Plain())
    assert layout.time is None


def test_the_cases_own_reader_wins():
    class Own:
        read_call = staticmethod(lambda args, kwargs: (args[1], kwargs["when"]))

    layout = survey(calls(lambda i: ((CONDITION, image(i)), {"when": 3.5})), SHAPE, Own())
    assert layout.time_of((CONDITION, image(0)), {"when": 3.5}) == 3.5


@pytest.mark.parametrize("raising", [False, True])
def test_standing_in_leaves_nothing_behind(raising):
    module = nn.Linear(2, 2)
    recorded = []
    handle = module.register_forward_hook(lambda *_: recorded.append("hook"))
    before = dict(vars(module))
    try:
        with stand_in(module, lambda x: x + 1):
            assert torch.equal(module(torch.zeros(2)), torch.ones(2))
            if raising:
                raise RuntimeError
    except RuntimeError:
        pass
    assert recorded == ["hook"]
    assert vars(module) == before
    assert "forward" not in vars(module)
    handle.remove()


def test_a_forward_that_was_patched_before_is_given_back():
    module = nn.Linear(2, 2)
    patched = lambda x: x * 3  # noqa: E731
    module.forward = patched
    with stand_in(module, lambda x: x):
        pass
    assert module.forward is patched


@dataclass
class Output:
    sample: torch.Tensor
    extra: int = 3


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: (torch.zeros(3), x),
        lambda x: [x, None],
        lambda x: {"features": torch.zeros(2, 8), "sample": x},
        Output,
        lambda x: torch.cat((x, x), 1),
        lambda x: {"both": torch.cat((x, x), 1)},
    ],
    ids=["tensor", "tuple", "list", "dict", "dataclass", "learned variance", "dict with variance"],
)
def test_a_stand_in_answers_in_the_form_of_the_network(wrap):
    real, exact = wrap(image(0)), image(1)
    dressed = output_form(real, SHAPE).dress(exact)
    assert type(dressed) is type(real)
    assert torch.equal(prediction_in(dressed, SHAPE), exact)
    assert not torch.equal(prediction_in(real, SHAPE), exact)


def test_diffusers_outputs_are_understood():
    from diffusers.models.unets.unet_2d import UNet2DOutput

    form = output_form(UNet2DOutput(sample=image(0)), SHAPE)
    assert torch.equal(form.dress(image(1)).sample, image(1))


def test_layout_and_form_default_to_a_plain_call():
    assert Layout().x_t((image(0), 3), {}).shape == SHAPE
    assert OutputForm().dress(image(0)) is not None


@pytest.mark.parametrize("length", [50, 100, 1000])
@pytest.mark.parametrize("index", range(len(conventions(1000))))
def test_every_convention_is_decoded_to_the_timesteps_it_stands_for(length, index):
    usual = conventions(length)
    if index >= len(usual):
        pytest.skip("fewer conventions for T = 1000")
    truth = usual[index]
    steps = torch.arange(length - 1, -1, -max(1, length // 10)).double()
    values = (truth.scale * steps + truth.offset).float().double()
    assert truth.fits(values, length)
    assert torch.equal(truth.decode(values).round(), steps)
    found = affine(steps.long().tolist(), values.tolist(), length)
    assert found is not None
    assert found.words == truth.words
    assert readings(values, length, preferred=[truth])[0] == truth


def test_times_that_are_no_timesteps_are_refused():
    assert readings(torch.tensor([80.0, 14.6, 0.002], dtype=torch.float64), 1000) == []
    assert readings(torch.tensor([999.0, 950.25], dtype=torch.float64), 1000) == []
    assert affine([0, 1, 2], [0.0, 1.0, 4.0], 1000) is None
    assert affine([0, 1, 2], [5.0, 5.0, 5.0], 1000) is None
