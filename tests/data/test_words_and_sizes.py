"""What headers, cells, sizes and folders say, by examples on either side of every decision."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from traindx.data import limits, pictures
from traindx.data.headers import never_learned, plain, without_box
from traindx.data.layout.lines import _some, shape
from traindx.data.layout.survey import folder_group, survey
from traindx.data.reading import NotReadError, UnreadableError
from traindx.data.scope import DataScope
from traindx.data.tables import _box, classes, numbers
from traindx.evidence import Action, Evidence
from traindx.evidence.base import Curve
from traindx.evidence.dataset import FileCensus, ImageSet
from traindx.rules import catalogue


@pytest.mark.parametrize(
    ("header", "never"),
    [
        ("Patient ID", True), ("study_date", True), ("valDice", True), ("column_3", True), ("Unnamed: 0", True),
        ("fold", True), ("", True), ("nodule", False), ("dx", False), ("tumour location", True),
        ("confident", False), ("diagnosis", False), ("dx_type", True),
    ],
)  # fmt: skip
def test_columns_that_are_never_learned(header: str, never: bool) -> None:
    assert never_learned(header) is never


def test_headers_without_decoration() -> None:
    assert (plain(" Bbox [x "), without_box("bbox_left"), without_box("left"), without_box("boxes")) == (
        "bbox_x", "left", "left", "boxes",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "names"),
    [("A|B", ["A", "B"]), ("A; B;", ["A", "B"]), ("A, B", ["A", "B"]), (" A ", ["A"]), ("", []), ("nan", [])],
)
def test_classes_of_a_cell(cell: str, names: list[str]) -> None:
    assert classes(cell) == names


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["[1, 2, 3, 4]"] * 9 + ["[5, 5, 4, 4]"], "corners"),
        (["[1, 2, 3, 4]"] * 8 + ["[5, 5, 4, 4]"] * 2, "size"),
        (["[9, 2, 3, 4]"] * 10, "size"),  # the second number alone says nothing
        (["[1, 9, 3, 4]"] * 10, "size"),
        (["[1, 2, 3, 4]"] * 9 + ["none"], "corners"),
        (["[1, 2, 3, 4]"] * 8 + ["none"] * 2, ""),
        ([], ""),
    ],
)
def test_four_numbers_in_a_cell_are_corners_or_a_corner_and_a_size(cells: list[str], form: str) -> None:
    values = Counter({f"{cell}{' ' * index}": 1 for index, cell in enumerate(cells)})
    table: Any = SimpleNamespace(columns={"Bbox": SimpleNamespace(name="Bbox", values=values)})
    assert _box(table, {"bbox": "Bbox"}) == (("Bbox",) if form else None, form)
    assert numbers("1 2 3") is None
    assert numbers("[1, -2.5, 3e1, 4]") == (1.0, -2.5, 30.0, 4.0)


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [("8G", 8 << 30), ("8gb", 8 << 30), ("1.5M", 3 << 19), ("512", 512), ("2T", 2 << 40), ("1KB", 1024)],
)
def test_how_much_one_image_may_take(given: str, bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, given)
    assert limits.allowed() == bytes_


def test_without_a_limit_it_is_a_share_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("", "much"):
        monkeypatch.setenv(limits.VARIABLE, given)
        for free, processes, share in ((100 << 30, "2", 10 << 30), (100 << 30, "x", 20 << 30), (1, "1", 1 << 30)):
            monkeypatch.setenv(limits.PROCESSES, processes)
            monkeypatch.setattr(limits, "_free", lambda free=free: free)
            limits._by_default.cache_clear()
            assert limits.allowed() == share
    limits._by_default.cache_clear()


@pytest.mark.parametrize(
    ("size", "stored", "ratio", "error"),
    [
        ((10, 10), 200, 1, None),
        ((10, 10), 199, 1, UnreadableError),
        ((10, 10), None, 1, None),
        ((10, 10), 20, 10, None),
        ((100, 100), 1600, 10, None),  # 20 kB: of 16 kB and as much again as a header may take
        ((100, 100), 1000, 10, UnreadableError),
        ((-1, 10), None, 1, UnreadableError),
        ((0, 10), None, 1, None),
        ((1000, 1000), None, 1, NotReadError),
    ],
)
def test_what_a_header_promises(
    size: tuple[int, ...], stored: int | None, ratio: int, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limits.VARIABLE, "1M")
    if error is None:
        assert limits.check(size, 2, stored=stored, ratio=ratio) == 2 * math.prod(size)
        return
    with pytest.raises(error):
        limits.check(size, 2, stored=stored, ratio=ratio)


@pytest.mark.parametrize(
    ("number", "text"),
    [(999, "999 bytes"), (1000, "1.0 kB"), (3.6e9, "3.6 GB"), (2e15, "2.0 PB"), (2e18, "2000.0 PB")],
)
def test_bytes_in_words(number: float, text: str) -> None:
    assert limits.bytes_text(number) == text


def test_names_of_a_folder_without_what_counts() -> None:
    assert folder_group("p10/s5/a.jpg") == "p#/s#"
    assert folder_group("x/0a1b2c3d4e5f/a.jpg") == "x/#"
    assert shape("a/b/labelsTr/organ_003.nii.gz") == "b/labelsTr/organ_#.nii.gz"
    assert shape("1.2.840.113619.2.5/image.dcm") == "*/image.dcm"
    assert shape("x/" + "n" * 23 + ".png") == "x/" + "n" * 23 + ".png"
    assert shape("x/" + "n" * 24 + ".png") == "x/*.png"
    assert _some(Counter(a=3, b=2)) == "a and b"
    assert _some(Counter(a=3, b=2, c=1)) == "a and b (and 1 more)"


def test_some_names_of_every_group_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traindx.data.layout.survey.PER_GROUP", 2)
    monkeypatch.setattr("traindx.data.layout.survey.GROUPS", 2)
    seen = survey([("a1/x.png", 1), ("a2/y.png", 2), ("a3/z.png", 3), ("b/x.png", 4), ("c/x.png", 5)])
    assert (seen.files, seen.bytes, seen.names) == (5, 15, ["a1/x.png", "a2/y.png", "b/x.png"])


@pytest.mark.parametrize(("images", "masks", "enough"), [(1, 0, True), (0, 1, True), (0, 0, False)])
def test_a_folder_with_one_image_or_mask_can_be_judged(images: int, masks: int, enough: bool) -> None:
    evidence = Evidence()
    assert not DataScope.of(evidence).enough
    evidence.add(FileCensus(root="x", files=9, readable=9, unreadable=0, images=images, masks=masks))
    scope = DataScope.of(evidence)
    assert scope.enough is enough
    assert scope.unseen == (() if enough else ("no image was read",))


def test_why_a_rule_on_data_could_not_judge() -> None:
    scope = DataScope.of(Evidence())
    absence = scope.absent(catalogue()["D104"])
    assert absence.action is Action.GIVE
    assert "--labels" in absence.reason
    assert "there is no image" in scope.absent(catalogue()["D109"]).reason


@pytest.mark.parametrize(("count", "tiles", "size"), [(3, 3, (96, 288)), (0, 0, None), (40, 14, None)])
def test_a_sheet_shows_members_evenly(
    count: int, tiles: int, size: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "SIDE", 96)
    monkeypatch.setattr(pictures, "SHEET", 16)
    monkeypatch.setattr(pictures, "_ABREAST", 8)
    evidence = Evidence()
    rows = [(f"{number}.png", -1, "") for number in range(count)]
    asked: list[Any] = []

    def views(ctx: object, chosen: list[Any], *, masks: bool) -> dict[Any, Any]:
        asked.extend(chosen)
        return {row[:3]: np.ones((4, 4), np.float32) for row in chosen}

    monkeypatch.setattr(pictures, "views", views)
    ctx: Any = SimpleNamespace(evidence=evidence, store=SimpleNamespace(rows=lambda *_: iter(rows)))
    pictures._sheet(ctx, ImageSet(name="CR", role="image", modality="CR", count=count, files=count))
    assert len(asked) == tiles
    if size:
        assert evidence.array("sheet: CR").shape == size
    if not count:
        assert not list(evidence)


def test_curves_of_sets_with_two_members_and_of_histograms_with_counts() -> None:
    evidence = Evidence()
    columns = {"image CT": 2, "image MR": 1, "image CTA": 2}
    ctx: Any = SimpleNamespace(
        evidence=evidence,
        sets=lambda: list(columns),
        columns=lambda names, where, name: tuple(np.arange(columns[name], dtype=float) for _ in range(7)),
        notes={"histograms": {"a": np.ones(len(pictures.HU_EDGES) - 1), "b": np.zeros(len(pictures.HU_EDGES) - 1)}},
    )
    pictures._percentiles(ctx)
    pictures._histograms(ctx)
    first, other, second = evidence.of(Curve)
    assert (first.name, first.y_label, second.name) == ("grey values: image CT", "HU", "histogram: a")
    assert (other.name, other.y_label) == ("grey values: image CTA", "grey value")
    assert first.series["highest"][0] > first.series["median"][0] > first.series["lowest"][0]
    assert sum(second.series["share of voxels"]) == pytest.approx(1)
