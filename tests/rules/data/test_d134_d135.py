"""D134 and D135: loaders whose samples are one item, or whose items change, and what looks like it and is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from traindx.evidence import Evidence
from traindx.evidence.observed_items import ItemsSeen
from traindx.finding import Finding, Standing
from traindx.watch.probes.held_memory import HeldChanged
from watch.inside import found, watched

Get = Callable[["Images", int], np.ndarray]


class Images(Dataset):  # type: ignore[type-arg]
    """Random images that a function hands out."""

    def __init__(self, get: Get, length: int = 48) -> None:
        self.images = np.random.default_rng(0).normal(2, 3, (length, 1, 8, 8)).astype(np.float32)
        self.buffer = np.zeros((1, 8, 8), np.float32)
        self.random = np.random.default_rng(1)
        self.get = get

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, float]:
        return torch.from_numpy(self.get(self, index)), float(index % 2)


def trained(get: Get, folder: Path, *, passes: int = 4, length: int = 48, batch: int = 8) -> Evidence:
    def script() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(model.parameters(), 1e-4)
        loader = DataLoader(Images(get, length), batch_size=batch, shuffle=True)
        for _ in range(passes):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x)[:, 0], y.float()).backward()
                optimizer.step()

    return watched(script, folder)


def refilled(data: Images, index: int) -> np.ndarray:
    data.buffer[:] = data.images[index]
    return data.buffer


def always_the_first(data: Images, index: int) -> np.ndarray:
    return data.images[index % 2].copy()


def rescaled(data: Images, index: int) -> np.ndarray:
    _ = data.images[index].max()
    data.images[index] /= 2.55
    return data.images[index].copy()


def moved(data: Images, index: int) -> np.ndarray:
    data.images[index] -= 2
    return data.images[index].copy()


def plain(data: Images, index: int) -> np.ndarray:
    return data.images[index]


def standardised_in_place(data: Images, index: int) -> np.ndarray:
    image = data.images[index]
    image -= image.mean()
    image /= image.std()
    return image.copy()


def augmented(data: Images, index: int) -> np.ndarray:
    image = data.images[index] * data.random.uniform(0.5, 2) + data.random.normal(0, 4)
    return (image[..., ::-1] if data.random.random() < 0.5 else image).astype(np.float32)


def brightened(data: Images, index: int) -> np.ndarray:
    return (data.images[index] * data.random.uniform(0.3, 3)).astype(np.float32)


def blank(data: Images, index: int) -> np.ndarray:
    return np.full((1, 8, 8), index % 3, np.float32)


def line_of(finding: Finding) -> str:
    assert finding.location is not None
    return Path(__file__).read_text().splitlines()[(finding.location.line or 0) - 1].strip()


def both(evidence: Evidence) -> list[Finding]:
    return found("D134", evidence) + found("D135", evidence)


def test_buffer_refilled(tmp_path: Path) -> None:
    (finding,) = both(trained(refilled, tmp_path))
    assert (finding.code, finding.standing, finding.variant) == ("D134", Standing.DEMONSTRATED, "shared-buffer")
    assert finding.location is not None
    assert finding.location.symbol == "Images.__getitem__"


def test_index_ignored(tmp_path: Path) -> None:
    (finding,) = both(trained(always_the_first, tmp_path))
    assert (finding.code, finding.standing, finding.variant) == ("D134", Standing.SUSPECTED, "index-ignored")
    assert (finding.numbers["indices"], finding.numbers["contents"]) == (48, 2)


def test_rescaled_in_place(tmp_path: Path) -> None:
    """Four readings: three more divisions than the first, 1/2.55**3."""
    (finding,) = both(trained(rescaled, tmp_path))
    assert (finding.code, finding.standing, finding.variant) == ("D135", Standing.DEMONSTRATED, "scale")
    assert finding.numbers["sightings"] == 4
    assert finding.numbers["factor"] == pytest.approx(2.55**-3, rel=1e-3)
    assert finding.location is not None
    assert line_of(finding) == "data.images[index] /= 2.55"


def test_moved_in_place(tmp_path: Path) -> None:
    """Three times two, at a spread of about three."""
    (finding,) = both(trained(moved, tmp_path))
    assert (finding.code, finding.variant) == ("D135", "offset")
    assert line_of(finding) == "data.images[index] -= 2"
    assert finding.numbers["shift"] == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("get", [plain, standardised_in_place])
def test_healthy(get: Get, tmp_path: Path) -> None:
    """The same item each time; standardising twice is standardising once."""
    evidence = trained(get, tmp_path)
    assert both(evidence) == []
    (items,) = evidence.of(ItemsSeen)
    assert (items.batches, items.one_item, items.contents >= 48, items.indices) == (24, 0, True, 48)
    assert items.alike == items.followed == 32


@pytest.mark.parametrize("get", [augmented, brightened, blank])
def test_near_miss(get: Get, tmp_path: Path) -> None:
    """Another contrast and side each time; another brightness alone; blank images, which are alike by nature."""
    assert both(trained(get, tmp_path)) == []


def test_near_miss_one_batch_by_heart(tmp_path: Path) -> None:
    """A data set as long as its batch, on purpose."""
    assert both(trained(plain, tmp_path, passes=40, length=4, batch=4)) == []


class Named(Images):
    """The same as a mapping, led by a matrix of geometry that all items share."""

    def __getitem__(self, index: int) -> dict[str, object]:  # type: ignore[override]
        image, label = super().__getitem__(index)
        return {"turn": torch.eye(8), "mask": image > 2, "image": image, "label": label}


@pytest.mark.parametrize(("get", "expected"), [(plain, []), (refilled, ["D134"])])
def test_the_image_is_looked_at(get: Get, expected: list[str], tmp_path: Path) -> None:
    def script() -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
        optimizer = torch.optim.SGD(model.parameters(), 1e-4)
        data = Named(get)
        data.buffer = np.zeros((2, 8, 8), np.float32)
        data.images = np.repeat(data.images, 2, axis=1)
        for batch in DataLoader(data, batch_size=8):
            optimizer.zero_grad()
            model(batch["image"][:, :1]).square().mean().backward()
            optimizer.step()

    assert [finding.code for finding in both(watched(script, tmp_path))] == expected


def test_memory_that_a_data_set_keeps(tmp_path: Path) -> None:
    """Whether it changes is told for arrays, tensors and what lies in lists and inner data sets; new entries of a cache
    and what other objects hold are no change."""
    inner = Images(plain, 4)
    torch_set = torch.utils.data.Subset(inner, [0, 1])
    torch_set.cache = {0: [torch.ones(4), np.ones(4)]}  # type: ignore[attr-defined]
    changed = HeldChanged(torch_set)
    assert changed({}) is False
    torch_set.cache[1] = [torch.zeros(4)]  # type: ignore[attr-defined]
    assert changed({}) is False
    for array in (inner.images, torch_set.cache[0][0], torch_set.cache[0][1]):  # type: ignore[attr-defined]
        array[2] += 1
        assert changed({}) is True
        changed = HeldChanged(torch_set)
    assert HeldChanged([3, "text"])({}) is None


def test_nothing_is_touched(tmp_path: Path) -> None:
    """Batches and random numbers are what they are without a watch."""

    def batches() -> list[torch.Tensor]:
        torch.manual_seed(3)
        return [x for x, _ in DataLoader(Images(augmented), batch_size=8, shuffle=True)]

    seen: list[torch.Tensor] = []
    watched(lambda: seen.extend(batches()), tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(seen, batches(), strict=True))


def test_what_is_followed_ends(tmp_path: Path) -> None:
    """A long training does not pay for ever: later batches are looked at rarely, and each item at most 16 times."""
    evidence = trained(plain, tmp_path, passes=30)
    (items,) = evidence.of(ItemsSeen)
    assert items.sightings == 16
    assert items.drawn < 30 * 48 / 2
