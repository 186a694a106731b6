"""Checks of metrics: reference predictors, repeatability, and what the trained model says on validation samples."""
