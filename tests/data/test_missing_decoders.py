"""A picture that this installation cannot decode is not read, and is not called broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from traindx.data import read_dicom, read_images


@pytest.mark.parametrize(
    ("message", "error", "says"),
    [
        ("decoder jpeg2k not available", read_images.NotReadError, "built without it"),
        ("image file is not available", read_images.UnreadableError, "not available"),
        ("decoder error -2", read_images.UnreadableError, "decoder error"),
    ],
)
def test_what_pillow_lacks_is_told_from_what_is_broken(
    message: str, error: type[Exception], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(message)

    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(error, match=says):
        read_images._pillow(str(tmp_path / "a.jp2"))


@pytest.mark.parametrize(
    ("error", "syntax", "says"),
    [
        (NotImplementedError("not supported"), "1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression is not"),
        (NotImplementedError("not supported"), "1.2.840.10008.1.2.4.203", "is not decoded by pydicom"),
        (RuntimeError("RLE encoded pixel data with 1 bits allocated"), "1.2.840.10008.1.2.5", "of one bit a pixel"),
        (RuntimeError("missing dependencies"), "1.2.840.10008.1.2.4.70", "pip install"),
        (RuntimeError("the frame ends early"), "1.2.840.10008.1.2.5", ""),
    ],
)
def test_what_pydicom_lacks_is_told_from_what_is_broken(error: Exception, syntax: str, says: str) -> None:
    said = read_dicom._decoder(error, syntax)
    assert says in said
    assert bool(said) is bool(says)
