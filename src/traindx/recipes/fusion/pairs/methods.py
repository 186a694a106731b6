"""Ways to fuse two images without training, by the name that options and tables use."""

from __future__ import annotations

from collections.abc import Mapping

from traindx.recipes.fusion.baselines import Fusion, average, copy_of_ct, copy_of_mr, laplacian_pyramid, maximum
from traindx.recipes.fusion.classical import guided_filter_fusion, wavelet

METHODS: Mapping[str, Fusion] = {
    "average": average,
    "maximum": maximum,
    "laplacian": laplacian_pyramid,
    "dwt": wavelet,
    "guided-filter": guided_filter_fusion,
}

COPIES: Mapping[str, Fusion] = {"copy of A": copy_of_ct, "copy of B": copy_of_mr}
"""No fusion at all: what every figure of one is shown beside."""
