"""D153 on small programs with two views of a sample."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest

from traindx.evidence.observed_views import ViewsPaired
from traindx.finding import Standing
from traindx.watch.collectors.paired_views import held_twice, twice_in

PROGRAM = dedent(
    """
    import numpy as np
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    np.random.seed(0), torch.manual_seed(0)
    IMAGES = np.random.normal(size=(48, 1, 12, 12)).astype(np.float32)


    def drawn(image):
        if np.random.rand() < 0.5:
            image = image[:, :, ::-1]
        noisy = image * np.random.uniform(0.5, 1.5)
        return torch.from_numpy(noisy.astype(np.float32))


    class Films(Dataset):
        def __len__(self):
            return 48

        def __getitem__(self, index):
            image = IMAGES[index]
            {views}
            return {item}


    loader = DataLoader(Films(), 8, shuffle=True, drop_last=True)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Dropout({drop}), nn.Linear(200, 16))
    {teacher}
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    for epoch in range(3):
        for batch in loader:
            {step}
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    """
)
ONCE = "first = drawn(image)\n        second = first.clone()"
TWICE = "first = drawn(image)\n        second = drawn(image)"
PLAIN = "first = torch.from_numpy(image)\n        second = first.clone()"
APART = "one, two = (net(batch[0]), net(batch[1]))"
JOINED = "one, two = net(torch.cat([batch[0], batch[1]])).chunk(2)"
CONTRAST = "\n        loss = nn.functional.cross_entropy(one @ two.T, torch.arange(len(one)))"
PAIR = "first, second, index"


def program(views: str, step: str, item: str = PAIR, drop: str = "0.0", teacher: str = "pass") -> str:
    source = PROGRAM
    for name, text in {"views": views, "step": step, "item": item, "drop": drop, "teacher": teacher}.items():
        source = source.replace("{" + name + "}", text)
    return source


def findings(seen) -> list:
    return [one for one in seen.diagnosis.findings if one.code == "D153"]


@pytest.mark.parametrize("step", [APART, JOINED])
def test_a_copy_of_the_first_view_is_named_where_it_is_made(script, step) -> None:
    seen = script(program(ONCE, step + CONTRAST))
    (found,) = findings(seen)
    assert found.standing is Standing.DEMONSTRATED
    assert found.location.line == seen.line("second = first.clone()")


@pytest.mark.parametrize(
    ("item", "parts", "line"),
    [
        ("first, first, index", "batch", "return first, first"),
        ("dict(views=[first, first], index=index)", "batch['views']", "def __getitem__"),  # too deep to find the line
    ],
)
def test_one_image_returned_twice_is_named(script, item, parts, line) -> None:
    seen = script(program("first = drawn(image)", (APART + CONTRAST).replace("batch", parts), item))
    (found,) = findings(seen)
    assert found.standing is Standing.DEMONSTRATED
    assert found.location.line == seen.line(line)


@pytest.mark.parametrize(("views", "drop"), [(ONCE, "0.3"), (PLAIN, "0.0")])
def test_noise_in_the_network_or_plain_items_leave_a_suspicion(script, views, drop) -> None:
    (found,) = findings(script(program(views, APART + CONTRAST, drop=drop)))
    assert found.standing is Standing.SUSPECTED


@pytest.mark.parametrize(
    ("views", "step", "drop"),
    [
        (TWICE, APART + CONTRAST, "0.0"),
        (TWICE, JOINED + CONTRAST, "0.0"),
        (PLAIN, APART + CONTRAST, "0.3"),  # two draws of the dropout on one image, on purpose
        (ONCE, "one = two = net(batch[0])" + CONTRAST, "0.0"),  # the copy is for display
        (ONCE, "loss = (net(batch[0]).mean(1) - batch[1].mean((1, 2, 3))).square().mean()", "0.0"),  # it is the target
    ],
)
def test_two_views_and_copies_that_no_network_compares_are_left_alone(script, views, step, drop) -> None:
    seen = script(program(views, step, drop=drop))
    assert not findings(seen)
    looked = list(seen.evidence.of(ViewsPaired))
    assert bool(looked) == ("batch[1]" in step and "square" not in step)
    assert all(one.equal == (one.samples if views != TWICE else 0) for one in looked)


def test_a_teacher_that_is_given_a_copy_is_suspected(script) -> None:
    teacher = "import copy\nteacher = copy.deepcopy(net)"
    step = "with torch.no_grad():\n            two = teacher(batch[1])\n        one = net(batch[0])" + CONTRAST
    (found,) = findings(script(program(ONCE, step, teacher=teacher)))
    assert found.standing is Standing.SUSPECTED
    assert found.variant == "two-networks"


def test_an_image_that_an_item_holds_twice_is_told_from_others() -> None:
    image = np.random.default_rng(0).normal(size=(1, 12, 12))
    digest = twice_in({"views": [image, image.copy()], "label": np.arange(3)})
    assert digest is not None
    assert twice_in([image, image + 1e-9, np.zeros((1, 12, 12)), np.zeros((1, 12, 12))]) is None
    looks = held_twice(digest)
    assert looks({"a": image, "b": image.copy()}) is True
    assert looks({"a": image, "return": image}) is False
    assert looks({"a": image + 1}) is None
