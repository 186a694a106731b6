"""The pictures of a report: views of items against other readers, and boxes where the table has them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from patients.folders import write_dicom, write_nifti, write_png
from traindx.data import offenders
from traindx.data.audit.boxes import Box
from traindx.data.views import views
from traindx.evidence import Evidence, Picture
from traindx.evidence.dataset import Example
from traindx.evidence.dataset_labels import BoxTable


def test_an_item_of_every_kind_is_shown_between_its_limits(tmp_path: Path) -> None:
    values = np.arange(12 * 10, dtype=np.int16).reshape(12, 10)
    volume = np.stack([values + 200, values, values - 200], axis=2)
    write_dicom(tmp_path / "a.dcm", values, RescaleSlope=2, RescaleIntercept=-50)
    write_nifti(tmp_path / "b.nii.gz", volume)
    write_png(tmp_path / "c.png", values.astype(np.uint8))
    np.savez(tmp_path / "d.npz", images=np.stack([values, values[::-1]]))
    shown = {
        ("a.dcm", -1, "", "dicom"): 2.0 * pydicom.dcmread(tmp_path / "a.dcm").pixel_array - 50,
        ("b.nii.gz", -1, "", "nifti"): np.asarray(nib.load(tmp_path / "b.nii.gz").dataobj)[:, :, 1].T,
        ("c.png", -1, "", "image"): np.asarray(Image.open(tmp_path / "c.png")),
        ("d.npz", 1, "images", "array"): values[::-1],
    }
    low, high = 10.0, 90.0
    ctx: Any = SimpleNamespace(root=str(tmp_path))
    found = views(ctx, [(*place, low, high, 0.0, 0.0) for place in shown])
    assert set(found) == {place[:3] for place in shown}
    for place, expected in shown.items():
        np.testing.assert_allclose(found[place[:3]], np.clip((expected - low) / (high - low), 0, 1), atol=1e-6)


def test_bad_boxes_are_drawn_to_scale_and_good_tables_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    box = Box(1, "i1", "", (8.0, 16.0, 24.0, 32.0), 64, 32, at="bad.csv:2")

    def boxes(ctx: object, table: Any) -> list[Box]:
        read.append(table.name)
        return [box]

    place = ("i1.png", -1, "")
    monkeypatch.setattr(offenders, "boxes", boxes)
    monkeypatch.setattr(offenders, "matching_column", lambda *_: "name")
    monkeypatch.setattr(offenders, "views", lambda *_: {place: np.zeros((32, 64), np.float32)})
    evidence = Evidence()
    ctx: Any = SimpleNamespace(
        evidence=evidence,
        tables=(SimpleNamespace(name="good.csv"), SimpleNamespace(name="bad.csv")),
        store=SimpleNamespace(one=lambda *_: place),
        notes={},
    )
    evidence.add(BoxTable(table="good.csv", boxes=9, images=9))
    evidence.add(BoxTable(table="bad.csv", boxes=1, images=1, outside=1, outside_examples=(Example(name="bad.csv:2"),)))
    offenders._bad_boxes(ctx, evidence.of(BoxTable)[0])
    offenders._bad_boxes(ctx, evidence.of(BoxTable)[1])
    assert read == ["bad.csv"]
    (picture,) = evidence.of(Picture)
    rows, columns = np.nonzero(evidence.array(picture.name)[0])
    # four times as large, and 64 rows down, since the image is half as high as it is wide
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (64 + 64, 64 + 128, 32, 96)
