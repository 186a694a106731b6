"""Audits: questions to the store whose answers are evidence. They measure and judge nothing; thresholds live in rules.

One subject a file; an audit is a function ``(AuditRoom) -> None``.
"""

from __future__ import annotations

from collections.abc import Callable

from traindx.data.audit.context import AuditRoom

Audit = Callable[[AuditRoom], None]


def catalogue() -> tuple[tuple[str, Audit], ...]:
    """Every audit with its title, in the order in which they run."""
    from traindx.data.audit import (
        boxes,
        census,
        classes,
        copies,
        geometry,
        grey_values,
        labels,
        masks,
        pairs,
        photometry,
        points,
        series,
    )

    return (
        ("files", census.audit),
        ("grey values", grey_values.audit),
        ("polarity and bit depth", photometry.audit),
        ("images and masks", pairs.audit),  # the audit of geometry asks which masks have an image
        ("spacing and orientation", geometry.audit),
        ("slices of series", series.audit),
        ("mask values", masks.audit),
        ("labels", labels.audit),
        ("class folders", classes.audit),
        ("boxes", boxes.audit),
        ("landmarks", points.audit),
        ("copies and leaks", copies.audit),
    )
