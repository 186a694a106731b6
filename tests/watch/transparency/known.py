"""Idioms that the watching still changes, with the reason: expected to fail until they are mended."""

from __future__ import annotations

BREAKS: dict[tuple[str, str], str] = {}
