"""Checks of radiograph physics: phantoms with exactly known line integrals, and views that belong to their volume."""
