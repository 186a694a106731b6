"""Ranges of activations; imported by the parent process too, which has no torch."""

from __future__ import annotations

RANGES: dict[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, float("inf")),
    "softplus": (0.0, float("inf")),
    "log_softmax": (float("-inf"), 0.0),
    "logsigmoid": (float("-inf"), 0.0),
}
