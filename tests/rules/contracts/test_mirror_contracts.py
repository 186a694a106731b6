"""C1115 for flips and quarter turns, call by call and in a program."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch

from traindx.watch.contracts.base import IN_ORDER, Broken, Given, Said, bound
from traindx.watch.contracts.mirrors import _NAMES, image_axes, mirrored_at_all, turned_in_plane


def answer(look: Any, function: str, *args: Any, **kwargs: Any) -> str:
    said: Said = look(Given(torch=torch, function=function, named=bound(_NAMES[function], args, kwargs)))
    return "broken" if isinstance(said, Broken) else "order" if said == IN_ORDER else "nothing"


GREY, COLOUR = np.zeros((1, 20, 30)), np.zeros((3, 20, 30))
BATCH, VOLUMES = torch.zeros(8, 3, 20, 30), torch.zeros(2, 1, 16, 20, 30)


@pytest.mark.parametrize(
    ("shape", "first"),
    [((20, 30), 0), ((20, 30, 3), 0), ((3, 20, 30), 1), ((8, 1, 20, 30), 2), ((2, 4, 16, 20, 30), 2),
     ((24, 20, 30), None), ((8, 20, 30, 3), None), ((8, 64, 20, 30), None), ((3, 5), None), ((8, 3), None)],
)  # fmt: skip
def test_where_the_plane_begins(shape: tuple[int, ...], first: int | None) -> None:
    assert image_axes(shape) == first


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("flipud", COLOUR), "broken"),
        (("fliplr", BATCH), "broken"),
        (("flipud", BATCH), "broken"),
        (("rot90", COLOUR, 2), "broken"),
        (("rot90", BATCH, 1), "broken"),
        (("rot90", BATCH, 2, (1, 2)), "broken"),
        (("fliplr", COLOUR), "order"),
        (("rot90", BATCH, 1, (2, 3)), "order"),
        (("rot90", BATCH, 1, (-2, -1)), "order"),
        (("rot90", BATCH, 4), "nothing"),  # no turn at all
        (("flipud", np.zeros((20, 30))), "order"),
        (("fliplr", np.zeros((20, 30, 3))), "order"),
        (("flipud", np.zeros((24, 20, 30))), "nothing"),  # a volume, whose first axis is one of its own
        (("flip", COLOUR, 0), "nothing"),  # colours in the other order, as far as this line says
        (("flip", BATCH, (0,)), "nothing"),  # samples, as to mix each with another
        (("flip", BATCH, (2,)), "order"),
        (("flip", BATCH, -1), "order"),
        (("flip", COLOUR), "nothing"),
    ],
)
def test_the_plane_is_turned(call: tuple[Any, ...], expected: str) -> None:
    assert answer(turned_in_plane, *call) == expected


@pytest.mark.parametrize(("dims", "broken"), [((1,), True), ((3,), False)])
def test_a_line_that_says_what_it_mirrors(dims: tuple[int, ...], broken: bool) -> None:
    given = Given(torch=torch, function="flip", named={"input": BATCH, "dims": dims})
    hflip = turned_in_plane(given)
    assert isinstance(hflip, Broken) == broken


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("flip", GREY, 0), "broken"),
        (("flip", VOLUMES, (1,)), "broken"),
        (("flip", VOLUMES, 1), "broken"),
        (("flip", VOLUMES, 1, 2), "order"),
        (("flip", GREY, -1), "order"),
        (("flip", COLOUR, 0), "order"),
        (("flip", torch.zeros(1, 3, 20, 30), 0), "order"),  # the one sample of a small batch
        (("flip", np.zeros((20, 30)), 0), "nothing"),
        (("flip", torch.zeros(1, 5), 0), "nothing"),
    ],
)
def test_something_is_mirrored(call: tuple[Any, ...], expected: str) -> None:
    assert answer(mirrored_at_all, *call) == expected


PROGRAM = dedent(
    """
    import numpy as np
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    np.random.seed(0), torch.manual_seed(0)
    IMAGES = np.random.normal(size=(32, 3, 20, 20)).astype(np.float32)


    class Films(Dataset):
        def __len__(self):
            return 32

        def __getitem__(self, index):
            image = IMAGES[index]
            if np.random.rand() < 0.5:
                image = {flip}.copy()
            return torch.from_numpy(image), index % 2


    loader = DataLoader(Films(), 8, shuffle=True)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(324, 2))
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    for epoch in range(3):
        for x, y in loader:
            with torch.no_grad():
                averaged = net(x) + net({tta})
            loss = nn.functional.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    """
)


@pytest.mark.parametrize(
    ("flip", "tta", "lines"),
    [
        ("np.flipud(image)", "torch.flip(x, dims=[3])", ["np.flipud(image)"]),
        ("np.flip(image, axis=-1)", "torch.fliplr(x)", ["torch.fliplr(x)"]),
        ("np.flip(image, axis=-1)", "torch.flip(x, dims=[3])", []),
        ("image[::-1]", "torch.flip(x, dims=[0]).flip(0)", []),
    ],
)
def test_flips_of_a_program_are_named_at_their_lines(script, flip: str, tta: str, lines: list[str]) -> None:
    seen = script(PROGRAM.replace("{flip}", flip).replace("{tta}", tta))
    found = [one for one in seen.diagnosis.findings if one.variant == "turned-along-the-channels"]
    assert [one.location.line for one in found] == [seen.line(text) for text in lines]
