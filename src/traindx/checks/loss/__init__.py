"""Checks of the loss: order of predictions, gradients, clamps, terms that cannot see what they should."""
