"""What was not annotated, merged with a class on the way from a label file to the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset

from traindx.core import compat
from traindx.evidence import Evidence
from traindx.evidence.probed_labels import LabelsMerged
from traindx.finding import Finding, Severity, Standing
from traindx.rules import catalogue
from traindx.watch.probes import declared_values
from traindx.watch.probes.declared_values import SAYS
from traindx.watch.probes.merged_values import merged_values

Array = Any
SIDE = 64


def smooth(rng: Any, side: int = SIDE, passes: int = 8) -> Array:
    field = rng.normal(size=(side, side))
    for _ in range(passes):
        field = sum(np.roll(field, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    return (field - field.mean()) / field.std()


def half_annotated(number: int, value: int = 2) -> tuple[Array, Array]:
    """Structures everywhere, drawn in the left part only."""
    rng = np.random.default_rng(number)
    structure = smooth(rng) > 0.3
    image = 100 + 60 * structure + rng.normal(size=structure.shape) * 15
    label = structure.astype(np.uint8)
    label[:, SIDE * 2 // 5 :] = value
    return image.clip(0, 255).astype(np.uint8), label


def nested(number: int) -> tuple[Array, Array]:
    """A tumour of three parts, each with a look of its own."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(rows - 32 + rng.normal() * 3, columns - 32 + rng.normal() * 3) + smooth(rng) * 2
    label = (away < 26).astype(np.uint8) + (away < 18) + (away < 8)
    image = np.array([60, 150, 100, 210])[label] + rng.normal(size=label.shape) * 15
    return image.clip(0, 255).astype(np.uint8), label


def intermediate(number: int) -> tuple[Array, Array]:
    """Two structures, one half as bright, in so much noise that its histogram is like that of a mixture."""
    rng = np.random.default_rng(number)
    label = np.digitize(smooth(rng), (-0.3, 0.5)).astype(np.uint8)
    image = 128 + np.array([-20, 0, 20])[label] + rng.normal(size=label.shape) * 20
    return image.clip(0, 255).astype(np.uint8), np.array([0, 2, 1], np.uint8)[label]


def mottled(number: int) -> tuple[Array, Array]:
    """A lesion that is a mixture of what the others look like, and ends where it ends."""
    rng = np.random.default_rng(number)
    label = (smooth(rng) > 0.3).astype(np.uint8)
    texture = (smooth(rng, passes=3) > 0.2).astype(np.uint8)
    label[:, SIDE * 2 // 5 :] = 2
    shown = np.where(label == 2, texture, label)
    image = 100 + 60 * shown + rng.normal(size=shown.shape) * 15
    return image.clip(0, 255).astype(np.uint8), label


def two_sides(number: int) -> tuple[Array, Array]:
    """Left and right: two numbers for one thing."""
    image, _ = half_annotated(number)
    rng = np.random.default_rng(number)
    structure = smooth(rng) > 0.3
    return image, np.where(structure, 1 + (np.arange(SIDE) > SIDE // 2), 0).astype(np.uint8)


def trimap(number: int) -> tuple[Array, Array]:
    """A seam between object and surroundings, as in masks of pets."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(rows - 32, columns - 32) + smooth(rng) * 2
    image = 100 + 60 * (away < 20) + rng.normal(size=away.shape) * 15
    return image.clip(0, 255).astype(np.uint8), np.where(away < 18, 1, np.where(away < 22, 2, 0)).astype(np.uint8)


def by_comparison(label: Array) -> Array:
    return (label > 0).astype(np.float32)


def by_clip(label: Array) -> Array:
    label = np.clip(label, 0, 1)
    return label.astype(np.float32)


def by_bool(label: Array) -> Array:
    mask = label.astype(bool)
    return mask.astype(np.float32)


def by_minimum(label: Array) -> Array:
    return np.minimum(label, 1).astype(np.float32)


def in_place(label: Array) -> Array:
    label = label.astype(np.int64)
    label[label > 1] = 1
    return label


def by_clamp(label: Array) -> Array:
    label = torch.from_numpy(label.astype(np.int64))
    return label.clamp(max=1)


def as_background(label: Array) -> Array:
    return (label == 1).astype(np.int64)


def by_table(label: Array) -> Array:
    table = np.array([0, 1, 1])
    return table[label]


def kept(label: Array) -> Array:
    return label.astype(np.int64)


def with_valid(label: Array) -> Array:
    return np.stack([label > 0, label != 2]).astype(np.float32)


def said_so(label: Array) -> Array:
    # everything above 0 counts as foreground
    return (label > 0).astype(np.float32)


class Cases(Dataset[Any]):
    """Eight images with label maps, kept as arrays."""

    def __init__(self, case: Callable[[int], tuple[Array, Array]], target: Callable[[Array], Array]) -> None:
        pairs = [case(number) for number in range(8)]
        self.images = [one for one, _ in pairs]
        self.labels = [one for _, one in pairs]
        self.target = target

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        image, label = self.images[index], self.labels[index]
        top = int(np.random.randint(0, 8))
        target = self.target(label)
        return image[top : top + 48].astype(np.float32) / 255, target[..., top : top + 48, :]


class Files(Dataset[Any]):
    """The same in files."""

    def __init__(self, folder: Path, suffix: str, read: Callable[[Path], Array]) -> None:
        self.read = read
        self.paths = []
        for number in range(8):
            both = [folder / f"{name}_{number}{suffix}" for name in ("image", "label")]
            for path, array in zip(both, half_annotated(number), strict=True):
                if suffix == ".png":
                    Image.fromarray(array).save(path)
                elif suffix == ".npz":
                    np.savez(path, a=array)
                else:
                    np.save(path, array)
            self.paths.append(both)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Array]:
        image, label = self.paths[index]
        return {
            "image": torch.from_numpy(self.read(image) / 255.0),
            "label": torch.from_numpy(self.read(label) > 0).float(),
        }


def read_png(path: Path) -> Array:
    return np.array(Image.open(path))


def read_npy(path: Path) -> Array:
    return np.load(path)


def read_npz(path: Path) -> Array:
    with np.load(path) as file:
        return file["a"]


def seen(dataset: Any) -> list[LabelsMerged]:
    with compat.no_function_modes(torch):
        records = list(merged_values(torch, [dataset]))
    assert all(isinstance(one, LabelsMerged) for one in records)
    return records  # type: ignore[return-value]


def judged(records: list[LabelsMerged]) -> list[Finding]:
    evidence = Evidence()
    for record in records:
        evidence.add(record)
    rule = catalogue()["D154"]
    return rule.check(evidence) if rule.applies(evidence) else []


@pytest.fixture(autouse=True)
def _this_file_declares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared_values, "source_files", lambda: ())


def line_of(finding: Finding) -> str:
    assert finding.location is not None
    return Path(__file__).read_text().splitlines()[finding.location.line - 1].strip()


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (by_comparison, "return (label > 0)"),
        (by_clip, "label = np.clip(label, 0, 1)"),
        (by_bool, "mask = label.astype(bool)"),
        (by_minimum, "return np.minimum(label, 1)"),
        (in_place, "label[label > 1] = 1"),
        (by_clamp, "return label.clamp(max=1)"),
        (as_background, "return (label == 1)"),
        (by_table, "return table[label]"),
    ],
)
def test_what_the_image_shows_to_be_not_annotated(target: Callable[[Array], Array], text: str) -> None:
    (finding,) = judged(seen(Subset(Cases(half_annotated, target), list(range(8)))))
    assert (finding.standing, finding.severity) == (Standing.SUSPECTED, Severity.CRITICAL)
    assert line_of(finding).startswith(text)
    assert "reads as not annotated" in finding.message


@pytest.mark.parametrize(("suffix", "read"), [(".png", read_png), (".npy", read_npy), (".npz", read_npz)])
def test_maps_in_files(tmp_path: Path, suffix: str, read: Callable[[Path], Array]) -> None:
    (finding,) = judged(seen(Files(tmp_path, suffix, read)))
    assert line_of(finding) == '"label": torch.from_numpy(self.read(label) > 0).float(),'


@pytest.mark.parametrize(
    ("case", "target"),
    [
        (nested, by_comparison),  # the whole tumour
        (nested, as_background),  # one of three
        (intermediate, by_comparison),
        (intermediate, as_background),
        (mottled, by_comparison),
        (two_sides, by_comparison),
        (trimap, by_comparison),
        (trimap, as_background),
        (half_annotated, said_so),
    ],
)
def test_structures_that_are_put_together(
    case: Callable[[int], tuple[Array, Array]], target: Callable[[Array], Array]
) -> None:
    records = seen(Cases(case, target))
    assert any(one.value == 2 and one.items >= 2 for one in records)  # it is merged
    assert judged(records) == []


@pytest.mark.parametrize("target", [kept, with_valid])
def test_what_can_still_be_left_out(target: Callable[[Array], Array]) -> None:
    (record,) = seen(Cases(half_annotated, target))
    assert (record.values, record.value) == ((0.0, 1.0, 2.0), -1.0)
    assert judged([record]) == []


@pytest.mark.parametrize("white", [1, 255])
def test_a_mask_of_two_values(white: int) -> None:
    def case(number: int) -> tuple[Array, Array]:
        image, label = half_annotated(number, 0)
        return image, label * white

    (record,) = seen(Cases(case, by_comparison))
    assert (record.values, record.value) == ((0.0, white), -1.0)
    assert judged([record]) == []


@pytest.mark.slow  # monai takes ten seconds to import
@pytest.mark.parametrize("name", ["AsDiscreted", "Lambdad"])
def test_transforms_of_a_library(name: str) -> None:
    transforms = pytest.importorskip("monai.transforms")
    data = [
        dict(zip(("image", "label"), (torch.from_numpy(one.astype(np.float32))[None] for one in pair), strict=True))
        for pair in map(half_annotated, range(8))
    ]
    merging = (
        transforms.AsDiscreted("label", threshold=0.5)
        if name == "AsDiscreted"
        else transforms.Lambdad("label", lambda label: label > 0)
    )
    made = transforms.Compose([merging, transforms.RandFlipd(("image", "label"), 0.5)])
    (finding,) = judged(seen(SimpleNamespace(data=data, transform=made)))
    text = line_of(finding)
    assert text.startswith("transforms.AsDiscreted(" if name == "AsDiscreted" else "else transforms.Lambdad(")


def test_the_number_that_masks_have_for_what_is_to_be_ignored() -> None:
    def case(number: int) -> tuple[Array, Array]:
        image, label = mottled(number)
        return image, np.where(label == 2, 255, label).astype(np.uint8)

    (finding,) = judged(seen(Cases(case, by_comparison)))
    assert finding.standing is Standing.SUSPECTED
    assert "by convention" in finding.message
    assert judged(seen(Cases(case, lambda label: np.where(label == 255, -1, label).astype(np.int64)))) == []


def test_a_declaration_beside_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = Cases(mottled, by_comparison)
    assert judged(seen(dataset)) == []
    (tmp_path / "config.yaml").write_text("num_classes: 2\nignore_label: 2\n")
    (finding,) = judged(seen(dataset))
    assert finding.standing is Standing.DEMONSTRATED
    assert "“ignore_label: 2” in config.yaml:2" in finding.message
    (tmp_path / "config.yaml").write_text("ignore_label: 3\n")
    assert judged(seen(dataset)) == []


@pytest.mark.parametrize(
    "text",
    [
        "IGNORE_INDEX = 2", "criterion = CrossEntropyLoss(ignore_index=2)", '"2": "unlabelled"', "2: unlabeled",
        '"ignore": 2,', "labels: 0 = background, 1 = surface, 2 = not annotated", "Label 2 marks unlabeled voxels.",
        "# 2 means ignore", "void = 2", "unlabelled voxels (2) are left out", "2 (unlabelled)", "UNLABELED = 2",
    ],
)  # fmt: skip
def test_sentences_that_declare(text: str) -> None:
    assert any(float(match["value"]) == 2 for form in SAYS for match in form.finditer(text))


@pytest.mark.parametrize(
    "text",
    [
        "2 - ignore the warnings of PIL", "ignore_warnings = 2", "avoid 2", "void main(2)", "2. Ignored files",
        "version 1.2 ignores", "ignored 2 files", "ignore_index=255", "ignore_index=-2", "no label smoothing: 0.2",
        "skip 2 = two", "2: ignore empty lines when reading", "unlabelled: 20",
    ],
)  # fmt: skip
def test_sentences_that_do_not(text: str) -> None:
    assert not any(float(match["value"]) == 2 for form in SAYS for match in form.finditer(text))
