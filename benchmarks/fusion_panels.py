"""Four random patients of each split, MR beside CT beside fused, as small pictures.

    python benchmarks/fusion_panels.py --checkpoint runs/fusion/best.ckpt

Needs ``TRAINDX_DATA``. Writes ``docs/fusion/panels-train.png`` and ``panels-val.png``. The images are of the
soft-tissue-sarcoma collection (Vallieres et al. 2015, doi 10.7937/K9/TCIA.2015.7GO2GSKS, CC BY 3.0), registered and
resampled by the IBSI; CT, MR and masks were normalised and fused here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from traindx.recipes.fusion import contract, inference, pictures, studies
from traindx.recipes.fusion.data import derive

OUT = Path(__file__).parents[1] / "docs" / "fusion"
CREDIT = "Images: Soft-Tissue-Sarcoma, Vallieres et al. 2015, TCIA, CC BY 3.0; cropped, normalised, fused"
SIDE = 180


def row(model: inference.Model, study: studies.Study, z: int, samples: int) -> dict[str, object]:
    """One slice of a patient, fused."""
    prepared = derive(study).at(z)
    fused, _, _ = inference.fuse_study(model, prepared, samples)
    return {
        "id": study.id,
        "MR": prepared.mr,
        "CT": prepared.ct,
        "fused": fused,
        "bone": torch.from_numpy(prepared.where.bone).float(),
        "lesion": torch.from_numpy(prepared.study.lesion).float(),
    }


def reduced(path: Path) -> None:
    """Store with 128 colours: grey levels and two outlines need no more, and the repository stays small."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    checkpoint = contract.read(given.checkpoint)
    model = inference.load(given.checkpoint)
    source, root = studies.resolve("sts", None)
    draw = np.random.default_rng(given.seed)
    for side in ("train", "val"):
        chosen = sorted(draw.choice(sorted(checkpoint["patients"][side]), 4, replace=False).tolist())
        rows = []
        for study in studies.load(source, root, chosen):
            inside = np.flatnonzero(study.lesion.any(axis=(1, 2)))
            rows.append(row(model, study, int(draw.choice(inside)), given.samples))
        cut = pictures.uniform([pictures.cropped(one) for one in rows], SIDE)
        path = OUT / f"panels-{side}.png"
        pictures.panels(path, cut, ("MR", "CT", "fused", "regions"), caption=CREDIT, enlarge=1)
        reduced(path)
        print(f"wrote {path}: {', '.join(chosen)}")


if __name__ == "__main__":
    main()
