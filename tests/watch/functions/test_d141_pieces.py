"""Networks that are run on pieces of an image: what a local one gives must come back where it was, once."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from traindx.evidence import Evidence
from traindx.evidence.probed_pieces import PiecesTried
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.probes.pieces import any_pieces, pieces_tried
from traindx.watch.runtime.source_text import parsed

SOURCE = """
import numpy as np
import torch
import torch.nn.functional as F

class Net(torch.nn.Module):
    def __init__(self, inside=1, channels=1, dim=2, padding=1):
        super().__init__()
        self.out = (torch.nn.Conv2d if dim == 2 else torch.nn.Conv3d)(inside, channels, 3, padding=padding)
    @torch.no_grad()
    def forward(self, x):
        return self.out(x)

{function}
"""

_numbers = itertools.count()


class Pieces:
    """A script whose ``main`` calls ``stop`` where the experiment is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[PiecesTried] = []

    def run(self) -> None:
        def stop() -> None:
            found = list(pieces_tried(torch, sys._getframe(1)))
            self.records = [one for one in found if isinstance(one, PiecesTried)]

        module = sys.modules["script"] = ModuleType("script")
        vars(module).update(stop=stop)
        exec(compile(self.path.read_text(), str(self.path), "exec"), vars(module))
        module.main()

    @property
    def found(self) -> list[Finding]:
        evidence = Evidence()
        for record in self.records:
            evidence.add(record)
        rule = catalogue()["D141"]
        return rule.check(evidence) if rule.applies(evidence) else []

    def line(self, text: str) -> int:
        return next(number for number, line in enumerate(self.path.read_text().splitlines(), 1) if text in line)


@pytest.fixture
def pieces(tmp_path: Path) -> Callable[[str], Pieces]:
    def make(function: str) -> Pieces:
        path = tmp_path / f"pieces{next(_numbers)}.py"
        path.write_text(SOURCE.format(function=textwrap.dedent(function)))
        tree = parsed(str(path))
        assert tree is not None
        assert any_pieces([tree])
        made = Pieces(path)
        made.run()
        return made

    return make


# An aggregator in the style of patch libraries: half of the overlap is cut off inside the volume.
AGGREGATOR = """
class Aggregator:
    def __init__(self, shape):
        self.output = torch.zeros(1, *shape)

    def add(self, patch, corner, size, overlap):
        shape, border = np.array(self.output.shape[1:]), overlap // 2
        first, last = np.array(corner), np.array(corner) + size
        cut_first, cut_last = np.where(first == 0, 0, border), np.where(last == shape, 0, border)
        first, last = first + cut_first, last - cut_last
        left = {left}
        piece = patch[(slice(None), *(slice(a, a + n) for a, n in zip(left, last - first)))]
        self.output[(slice(None), *(slice(a, b) for a, b in zip(first, last)))] = piece

def infer(net, subject, size=12, overlap=4):
    shape = subject["image"].shape[1:]
    aggregator = Aggregator(shape)
    starts = [sorted({{*range(0, s - size + 1, size - overlap), s - size}}) for s in shape]
    for i in starts[0]:
        for j in starts[1]:
            for k in starts[2]:
                patch = subject["image"][:, i:i + size, j:j + size, k:k + size]
                aggregator.add(net(patch[None])[0], (i, j, k), size, overlap)
    return aggregator.output > 0

def main():
    net = Net(dim=3)
    subjects = [{{"image": torch.randn(1, 28, 20, 20), "label": torch.rand(1, 28, 20, 20) > 0.5}} for _ in range(2)]
    scores = [(infer(net, one) == one["label"]).float().mean() for one in subjects]
    stop()
"""


def test_pieces_that_are_cut_out_of_the_middle(pieces: Callable[[str], Pieces]) -> None:
    made = pieces(AGGREGATOR.format(left="(size - (last - first)) // 2"))

    (finding,) = made.found
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == made.line("piece = patch[")
    (record,) = made.records
    assert sorted(map(abs, record.shift))[-1] == 2 or sorted(map(abs, record.shift))[-1] == 1


def test_pieces_that_are_cut_where_they_were(pieces: Callable[[str], Pieces]) -> None:
    made = pieces(AGGREGATOR.format(left="cut_first"))
    (record,) = made.records
    assert record.faithful == 1.0
    assert not made.found


WINDOWS = """
def predict(net, volume, size=16, step=12):
    channels, height, width = volume.shape
    total, count = torch.zeros(1, height, width), torch.zeros(1, height, width)
    for row in {rows}:
        for column in sorted({{*range(0, width - size + 1, step), width - size}}):
            out = net(volume[None, :, row:row + size, column:column + size])[0]
            total[:, {at}:{at} + size, column:column + size] += {out}
            count[:, {at}:{at} + size, column:column + size] += 1
    return {back}

def main():
    net = Net(3)
    volume = torch.randn(3, 50, 46)
    shown = predict(net, volume)
    stop()
"""
ROWS = "sorted({*range(0, height - size + 1, step), height - size})"


def windows(**changes: str) -> str:
    usual = {"rows": ROWS, "at": "row", "out": "out", "back": "total / count.clamp(min=1)"}
    return WINDOWS.format(**(usual | changes))


@pytest.mark.parametrize("back", ["total / count.clamp(min=1)", "total > 0"])
def test_what_is_never_covered(pieces: Callable[[str], Pieces], back: str) -> None:
    made = pieces(windows(rows="range(0, height - size + 1, step)", back=back))
    (finding,) = made.found
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers["uncovered"] == pytest.approx(10 / 50)
    assert finding.location.line == made.line("for row in")


def test_the_last_one_at_another_place(pieces: Callable[[str], Pieces]) -> None:
    made = pieces(windows(at="min(row, height - size - 3)"))
    (finding,) = made.found
    assert finding.standing is Standing.DEMONSTRATED
    (record,) = made.records
    assert record.shift == (3, 0)
    assert finding.location.line == made.line("total[:")


def test_overlaps_that_are_not_divided(pieces: Callable[[str], Pieces]) -> None:
    made = pieces(windows(out="out.sigmoid()", back="total"))
    (finding,) = made.found
    assert finding.standing is Standing.SUSPECTED
    (record,) = made.records
    assert record.moved == record.uncovered == 0
    assert record.uneven > 0.3


def test_decisions_about_sums_of_probabilities(pieces: Callable[[str], Pieces]) -> None:
    made = pieces(windows(out="out.sigmoid()", back="(total > 0.5).numpy()"))
    (finding,) = made.found
    assert finding.standing is Standing.DEMONSTRATED
    assert ".43" in finding.message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"out": "out.sigmoid()", "back": "(total / count > 0.5).long()"},
        {"back": "total"},
        {"back": "(total > 0).numpy()"},  # sums of logits have the sign of their mean
        {"back": "(total, count)"},  # the caller divides
        {"out": "out.sigmoid()", "back": "F.pad(total / count, (4, 4, 4, 4))[:, 4:-4, 4:-4]"},
    ],
)
def test_windows_that_are_averaged(pieces: Callable[[str], Pieces], changes: dict[str, str]) -> None:
    made = pieces(windows(**changes))
    (record,) = made.records
    assert record.moved == record.uncovered == 0
    assert not made.found


HEALTHY = {
    "gaussian weights": """
        def predict(net, image, size=24):
            axis = torch.exp(-((torch.arange(size) - (size - 1) / 2) ** 2) / (2 * (size / 8) ** 2))
            window = (axis[:, None] * axis[None]).clamp(min=1e-3)
            total, weight = torch.zeros(3, *image.shape[-2:]), torch.zeros(image.shape[-2:])
            for i in sorted({*range(0, image.shape[1] - size + 1, size // 2), image.shape[1] - size}):
                for j in sorted({*range(0, image.shape[2] - size + 1, size // 2), image.shape[2] - size}):
                    out = net(image[None, :, i:i + size, j:j + size]).softmax(1)[0]
                    total[:, i:i + size, j:j + size] += out * window
                    weight[i:i + size, j:j + size] += window
            return (total / weight).argmax(0)

        def main():
            net, image = Net(1, 3), torch.randn(1, 70, 61)
            predict(net, image)
            stop()
    """,
    "padding around": """
        def predict(net, image, size=24, step=16):
            height, width = image.shape
            rows, columns = (-(height - size)) % step, (-(width - size)) % step
            x = F.pad(image[None, None], (size, columns + size, size, rows + size))
            out, count = torch.zeros_like(x), torch.zeros_like(x)
            for i in range(0, x.shape[2] - size + 1, step):
                for j in range(0, x.shape[3] - size + 1, step):
                    out[:, :, i:i + size, j:j + size] += net(x[:, :, i:i + size, j:j + size])
                    count[:, :, i:i + size, j:j + size] += 1
            return (out / count.clamp(min=1))[0, 0, size:size + height, size:size + width]

        def main():
            net, image = Net(), torch.rand(66, 50)
            predict(net, image)
            stop()
    """,
    "flips of pieces": """
        def predict(net, image, size=24):
            out, count = torch.zeros(image.shape), torch.zeros(image.shape)
            for i in (0, 12, image.shape[1] - size):
                for j in (0, 16, image.shape[2] - size):
                    x = image[None, :, i:i + size, j:j + size]
                    p = sum(net(x.flip(f)).flip(f).sigmoid() for f in ([], [2], [3], [2, 3])) / 4
                    out[:, i:i + size, j:j + size] += p[0]
                    count[:, i:i + size, j:j + size] += 1
            return (out / count).numpy()

        def main():
            net, image = Net(), torch.rand(1, 44, 48)
            predict(net, image)
            stop()
    """,
    "largest of overlaps": """
        def predict(net, image, size=24):
            out = torch.full(image.shape, -100.0)
            for i in (0, 12, image.shape[1] - size):
                for j in (0, 16, image.shape[2] - size):
                    where = (slice(None), slice(i, i + size), slice(j, j + size))
                    out[where] = torch.maximum(out[where], net(image[where][None])[0])
            return out

        def main():
            net, image = Net(), torch.rand(1, 44, 48)
            predict(net, image)
            stop()
    """,
    "valid convolutions": """
        def predict(net, image, size=24, halo=1):
            x = F.pad(image[None], (halo, halo, halo, halo), mode="reflect")
            out = torch.zeros(image.shape)
            for i in range(0, image.shape[1], size):
                for j in range(0, image.shape[2], size):
                    piece = net(x[:, :, i:i + size + 2 * halo, j:j + size + 2 * halo])[0]
                    out[:, i:i + size, j:j + size] = piece
            return out

        def main():
            net, image = Net(padding=0), torch.rand(1, 72, 48)
            predict(net, image)
            stop()
    """,
    "a margin left out on purpose": """
        def predict(net, image, size=16, margin=4):
            out = np.zeros(image.shape, np.float32)
            for i in range(0, image.shape[0] - 2 * margin, size - 2 * margin):
                for j in range(0, image.shape[1] - 2 * margin, size - 2 * margin):
                    x = torch.from_numpy(image[i:i + size, j:j + size])[None, None]
                    inner = slice(margin, size - margin)
                    where = (slice(i + margin, i + size - margin), slice(j + margin, j + size - margin))
                    out[where] = net(x)[0, 0, inner, inner]
            return out

        def main():
            net, image = Net(), np.random.rand(48, 40).astype(np.float32)
            predict(net, image)
            stop()
    """,
    "a mask of the body": """
        def predict(net, volume, body, size=16):
            out = torch.zeros(volume.shape)
            for i in range(0, 48, size):
                for j in range(0, 32, size):
                    out[i:i + size, j:j + size] = net(volume[None, None, i:i + size, j:j + size])[0, 0]
            return out * body

        def main():
            net, volume = Net(), torch.randn(48, 32)
            body = torch.zeros(48, 32, dtype=torch.bool)
            body[:40, :25] = True
            predict(net, volume, body)
            stop()
    """,
    "a region that is asked for": """
        def predict(net, image, rows, columns, size=16):
            out = torch.zeros(image.shape)
            for i in range(0, rows, size):
                for j in range(0, columns, size):
                    out[i:i + size, j:j + size] = net(image[None, None, i:i + size, j:j + size])[0, 0]
            return out

        def main():
            net, image = Net(), torch.randn(64, 64)
            predict(net, image, 48, 48)
            stop()
    """,
    "in place, kept in names": """
        @torch.no_grad()
        def validate(net, loader, size=16):
            scores = []
            for image, label in loader:
                probability, count = torch.zeros(label.shape), torch.zeros(label.shape)
                for i in (0, 8, 20):
                    for j in (0, 16):
                        probability[:, :, i:i + size, j:j + size] += net(image[:, :, i:i + size, j:j + size]).sigmoid()
                        count[:, :, i:i + size, j:j + size] += 1
                probability = probability / count
                scores.append(((probability > 0.5) == (label > 0)).float().mean().item())
            return np.mean(scores)

        def main():
            net = Net()
            data = torch.utils.data.TensorDataset(torch.randn(4, 1, 36, 32), torch.randn(4, 1, 36, 32))
            loader = torch.utils.data.DataLoader(data, batch_size=2)
            validate(net, loader)
            stop()
    """,
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_put_together_rightly(pieces: Callable[[str], Pieces], name: str) -> None:
    made = pieces(HEALTHY[name])
    (record,) = made.records
    assert record.moved == 0
    assert [one.message for one in made.found] == []


SILENT = {
    "slices of a volume": """
        class Predictor:
            def __init__(self):
                self.net = Net(1, 2)
            def __call__(self, volume):
                x = (volume.clip(-200, 300) - 50) / 250
                out = np.zeros(volume.shape, np.uint8)
                for at in range(0, len(x), 4):
                    piece = torch.from_numpy(x[at:at + 4]).float()[:, None]
                    out[at:at + 4] = self.net(piece).argmax(1).numpy()
                return out

        def main():
            predictor = Predictor()
            volume = np.random.default_rng(0).integers(-1000, 1500, (18, 32, 30)).astype(np.int16)
            predictor(volume)
            stop()
    """,
    "another resolution": """
        class Coarse(Net):
            def forward(self, x):
                return F.avg_pool2d(self.out(x), 4)

        def predict(net, image, size=16):
            out = torch.zeros(12, 12)
            for i in range(0, 48, size):
                for j in range(0, 48, size):
                    small = net(image[None, None, i:i + size, j:j + size])[0, 0]
                    out[i // 4:(i + size) // 4, j // 4:(j + size) // 4] = small
            return F.interpolate(out[None, None], scale_factor=4)[0, 0]

        def main():
            net, image = Coarse(), torch.randn(48, 48)
            predict(net, image)
            stop()
    """,
    "neighbouring slices as channels": """
        def predict(net, volume):
            out = torch.zeros(volume.shape)
            for z in range(len(volume)):
                near = [max(0, z - 1), z, min(z + 1, len(volume) - 1)]
                out[z:z + 1] = net(volume[near][None])[0]
            return out

        def main():
            net, volume = Net(3), torch.randn(12, 32, 32)
            predict(net, volume)
            stop()
    """,
    "a map that is smoothed": """
        def predict(net, image, size=16):
            out = torch.zeros(image.shape)
            for i in range(0, 48, size):
                for j in range(0, 48, size):
                    out[i:i + size, j:j + size] = net(image[None, None, i:i + size, j:j + size])[0, 0].sigmoid()
            smooth = F.avg_pool2d(out[None, None], 5, 1, 2)[0, 0]
            return smooth > 0.5

        def main():
            net, image = Net(), torch.randn(48, 48)
            predict(net, image)
            stop()
    """,
    "another input's size": """
        def predict(net, image, size=16):
            big = F.interpolate(image[None, None], scale_factor=1.5, mode="bilinear")[0, 0]
            out = torch.zeros(big.shape)
            for i in range(0, 48, size):
                for j in range(0, 48, size):
                    out[i:i + size, j:j + size] = net(big[None, None, i:i + size, j:j + size])[0, 0]
            return F.interpolate(out[None, None], size=image.shape, mode="bilinear")[0, 0]

        def main():
            net, image = Net(), torch.randn(32, 32)
            predict(net, image)
            stop()
    """,
}


@pytest.mark.parametrize("name", SILENT)
def test_what_cannot_be_told(pieces: Callable[[str], Pieces], name: str) -> None:
    assert not pieces(SILENT[name]).found
