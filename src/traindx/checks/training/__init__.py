"""Checks of training: steps, rates, overfitting one batch, states that are kept, the author's full run."""
