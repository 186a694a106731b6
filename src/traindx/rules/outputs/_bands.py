"""Energy of a spectrum between two frequencies."""

from __future__ import annotations

from traindx.evidence.outputs import OutputSpectrum


def between(spectrum: OutputSpectrum, values: tuple[float, ...], low: float, high: float) -> float:
    """Energy of all coefficients with a frequency in ``[low, high)``, shares of the Nyquist frequency."""
    return sum(
        value * count
        for value, count, frequency in zip(values, spectrum.coefficients, spectrum.frequencies, strict=True)
        if low <= frequency < high
    )


def ratio(spectrum: OutputSpectrum, low: float, high: float) -> float:
    """Energy of the predictions over that of the targets between two frequencies; NaN where the targets have none."""
    target = between(spectrum, spectrum.target, low, high)
    return between(spectrum, spectrum.prediction, low, high) / target if target > 0 else float("nan")
