"""Trials of described cases."""
