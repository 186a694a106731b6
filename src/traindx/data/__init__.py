"""Verification of data before any training: DICOM, NIfTI, images, label tables, boxes, splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["verify"]

if TYPE_CHECKING:
    from traindx.data.verification import verify


def __getattr__(name: str) -> Any:
    if name == "verify":
        from traindx.data.verification import verify

        return verify
    raise AttributeError(f"module 'traindx.data' has no attribute {name!r}")
