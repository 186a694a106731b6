"""Pictures show the values that they are made of."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from traindx.diagnosis import Diagnosis, Outcome
from traindx.evidence import Evidence, Picture
from traindx.report import pictures


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def show(array: np.ndarray, low: float, high: float, labels: tuple[str, ...] = ()) -> tuple[pictures.Panel, ...]:
    record = Picture(name="p", caption="c", low=low, high=high, labels=labels)
    return pictures.panels(record, lambda _: array.astype(np.float32))


def test_window_maps_low_to_black_and_high_to_white() -> None:
    (panel,) = show(np.array([[-200.0, -50.0, 75.0, 200.0, 900.0]]), -50, 200)
    assert decoded(panel.png).tolist() == [[0, 0, 128, 255, 255]]


def test_every_panel_with_its_label() -> None:
    found = show(np.stack([np.zeros((4, 6)), np.ones((4, 6)), np.ones((4, 6))]), 0, 1, ("truth", "output"))
    assert [(panel.label, panel.width, panel.height) for panel in found] == [
        ("truth", 6, 4),
        ("output", 6, 4),
        ("", 6, 4),
    ]
    assert decoded(found[0].png).max() == 0
    assert decoded(found[1].png).min() == 255


def test_not_finite_is_magenta_and_counted() -> None:
    image = np.zeros((3, 3))
    image[0, 1], image[2, 2] = np.nan, np.inf
    (panel,) = show(image, 0, 1)
    pixels = decoded(panel.png)
    assert panel.not_finite == 2
    assert pixels[0, 1].tolist() == pixels[2, 2].tolist() == [214, 51, 132]
    assert pixels[1, 1].tolist() == [0, 0, 0]


def test_a_window_without_width_falls_back_to_the_range() -> None:
    (panel,) = show(np.array([[2.0, 4.0]]), 1, 1)
    assert decoded(panel.png).tolist() == [[0, 255]]
    (flat,) = show(np.full((2, 2), 7.0), 0, 0)
    assert decoded(flat.png).shape == (2, 2)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4, 5), (0, 4), (2, 0, 3)])
def test_what_is_not_a_picture_gives_no_panel(shape: tuple[int, ...]) -> None:
    assert show(np.zeros(shape), 0, 1) == ()


def test_missing_and_damaged_files_give_no_panel(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "bad.npy").write_bytes(b"not an array")
    records = (
        Picture(name="gone", caption="c", file="pictures/gone.npy"),
        Picture(name="bad", caption="c", file="pictures/bad.npy"),
    )
    load = pictures.arrays_of(tmp_path, Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, pictures=records))
    assert [pictures.panels(record, load) for record in records] == [(), ()]
    assert pictures.panels(Picture(name="never", caption="c"), load) == ()


def test_what_evidence_wrote_is_read_back(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.add_picture(Picture(name="a b/c", caption="c", low=0, high=255), np.arange(256).reshape(16, 16))
    diagnosis = Diagnosis(case="c", outcome=Outcome.NOTHING_FOUND, pictures=tuple(evidence.of(Picture)))
    (panel,) = pictures.panels(diagnosis.pictures[0], pictures.arrays_of(tmp_path, diagnosis))
    assert decoded(panel.png).ravel().tolist() == list(range(256))
    head, _, body = panel.uri.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == panel.png


def test_a_strip_keeps_every_pixel_square_and_crisp() -> None:
    image = np.array([[0.0, 1.0], [1.0, 0.0]])
    sheet = decoded(pictures.strip(show(np.stack([image, image]), 0, 1), height=64, gap=6))
    assert sheet.shape == (64, 2 * 64 + 6, 3)
    assert set(np.unique(sheet)) == {0, 255}
    np.testing.assert_array_equal(sheet[:, :64, 0], np.kron(image, np.ones((32, 32))) * 255)
    assert (sheet[:, 64:70] == 255).all()
