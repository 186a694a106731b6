"""Recipes: correct, trainable implementations of the five systems, written against the public API as a user would."""
