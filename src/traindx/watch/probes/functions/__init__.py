"""What functions of the user's must do by what they are: each module tries one relation on recorded calls."""

from __future__ import annotations

from traindx.watch.probes.functions import anchors, figures, inverses, label_maps, padding, reshaped, two_views

FAMILIES = (
    inverses.tried,
    label_maps.tried,
    padding.tried,
    two_views.tried,
    anchors.tried,
    figures.tried,
    reshaped.tried,
)
"""Each is given the script's torch and all recorded calls, and yields records."""
