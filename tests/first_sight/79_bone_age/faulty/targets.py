"""Transformation of regression targets, and the figures of a validation."""
import numpy as np


class QuantileTarget:
    """Maps targets to a standard normal by their ranks in the training set."""

    def fit(self, y):
        self.values = np.sort(y)
        probability = (np.arange(len(y)) + 0.5) / len(y)
        self.scores = np.sqrt(2) * np.array([_erfinv(2 * p - 1) for p in probability])
        return self

    def transform(self, y):
        return np.interp(y, self.values, self.scores)

    def inverse_transform(self, z):
        return np.interp(z, self.scores, self.values)


def _erfinv(x):
    """Inverse error function, Winitzki's approximation and two Newton steps."""
    from math import erf, exp, log, pi, sqrt

    a = 0.147
    b = 2 / (pi * a) + log(1 - x * x) / 2
    y = np.sign(x) * sqrt(sqrt(b * b - log(1 - x * x) / a) - b)
    for _ in range(2):
        y -= (erf(y) - x) / (2 / sqrt(pi) * exp(-y * y))
    return y


def figures(prediction, target, scaler):
    """Mean absolute error in months, and R squared."""
    error = prediction - target
    return {"mae": float(np.abs(error).mean()), "r2": float(1 - (error**2).sum() / ((target - target.mean()) ** 2).sum())}
