"""Checks of the path of the data: markers, label values, windows, shared samples."""
