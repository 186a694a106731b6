"""Idioms that the watching still changes, with the reason: expected to fail until they are mended."""

from __future__ import annotations

BREAKS: dict[tuple[str, str], str] = {
    ("live_tensors_counted", "window"): "experiments keep copies of tensors to the end of a watched iteration",
    ("own_wrapper_stays", "full"): "an experiment calls a function that the script has wrapped",
    ("raises_in_torch", "program"): "torch calls a module with hooks through two more frames of its own",
}
