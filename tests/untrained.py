"""Checkpoints of every recipe with random weights: what serving is tested with, without any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from traindx.recipes.concepts import contract as concepts_contract
from traindx.recipes.concepts.module import ConceptsModule
from traindx.recipes.concepts.settings import settings_of
from traindx.recipes.fusion.model import Denoiser as FusionDenoiser
from traindx.recipes.fusion.pairs.network import PairFuser
from traindx.recipes.fusion.pairs.network import contract_of as contract_of_pairs
from traindx.recipes.kit import contract as kit
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.model import Architecture
from traindx.recipes.segmentation.module import SegmentationModule
from traindx.recipes.segmentation.planning import Normalisation, Plan
from traindx.recipes.xray2ct.cascade.cascade import Cascade
from traindx.recipes.xray2ct.cascade.cascade import Plan as CascadePlan
from traindx.recipes.xray2ct.cascade.contract import describe
from traindx.recipes.xray2ct.contract import describe_data
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.model import Denoiser

GEOMETRY = ConeGeometry((8, 8, 8), (40.0, 36.0, 32.0), (8, 8))
CT = Normalisation(kind="ct", mean=40.0, sd=120.0, low=-200.0, high=400.0)
ZSCORE = Normalisation()


def _store(path: Path, contract: dict[str, Any], module: torch.nn.Module, prefix: str, **more: Any) -> Path:
    state = {f"{prefix}{name}": value for name, value in module.state_dict().items()}
    kit.store(path, {CONTRACT_KEY: contract, "state_dict": state, **more})
    return path


def segmentation(
    path: Path,
    *,
    schemes: tuple[Normalisation, ...] = (ZSCORE,),
    flips: tuple[int, ...] = (),
    seed: int = 0,
    architecture: Architecture = "dynunet",
    **plan: Any,
) -> Path:
    """Two classes, windows of 16 voxels each way, 1 mm; sharp enough that masks are neither empty nor full."""
    torch.manual_seed(seed)
    made = Plan(
        **{
            "labels": LabelMeaning.parse({"background": 0, "liver": 3, "lesion": 7}),
            "patch": (16, 16, 16),
            "channels": len(schemes),
            "normalisation": schemes,
            "kernels": ((3, 3, 3),) * 3,
            "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
            "filters": (4, 8, 16),
            **plan,
        }
    )
    module = SegmentationModule(made, architecture=architecture, flips=flips)
    last = [one for one in module.network.modules() if isinstance(one, torch.nn.Conv3d)][-1]
    with torch.no_grad():
        last.weight.mul_(8)
    return _store(path, module.contract(), module, "")


def xray2ct(path: Path) -> Path:
    torch.manual_seed(0)
    options = {"channels": 8, "token_channels": 8, "depth": 1, "encoder_channels": 8, "lifted_channels": 4}
    contract = {
        **kit.header("xray2ct", 1),
        **Process().contract(),
        **describe_data(HounsfieldWindow(), GEOMETRY),
        "network": options,
    }
    return _store(path, contract, Denoiser(GEOMETRY, **options), "network.")


def cascade(path: Path, method: str, *, views: tuple[str, ...] = VIEWS) -> Path:
    torch.manual_seed(0)
    options = {
        "widths": (8, 8),
        "depth": 1,
        "heads": 2,
        "encoder_channels": 4,
        "lifted": 4,
        "condition": 8,
        "refine": 4,
    }
    plan = CascadePlan(method, (4, 8), GEOMETRY, views=views, networks=(options, options))
    made = Cascade([plan.stage(0), plan.stage(1)])
    return _store(path, describe(plan), made, "cascade.")


def concepts(path: Path, *, trained: tuple[str, ...] = ("concepts", "prototypes", "task")) -> Path:
    torch.manual_seed(0)
    architecture = {"size": 32, "widths": [8, 12], "strides": [2, 2], "prototypes": 2, "embedding": 6}
    settings = settings_of({"source": "phantom", "architecture": architecture})
    module = ConceptsModule(settings, ("opacity", "nodule", "effusion"), ("healthy", "ill"), torch.ones(3))
    learnt = concepts_contract.Learnt(thresholds=(0.4, 0.5, 0.6), trained=trained)
    contract = concepts_contract.contract_of(settings, module.concepts, module.classes)
    concepts_contract.save_model(path, contract, module.state_dict(), learnt)
    return path


def fusion(path: Path, *, preset: str = "joint", dims: int = 2) -> Path:
    torch.manual_seed(0)
    options = {"channels": 4, "levels": 2, "refine_channels": 4}
    contract = {
        **kit.header("fusion", 1),
        "normalisation": {"preset": preset},
        **Process(sampling_steps=10).contract(),
        "dims": dims,
        "network": options,
    }
    weights = {"alpha": 1.0, "beta": 1.0, "gamma": 0.0}
    return _store(path, contract, FusionDenoiser(dims, **options), "network.", roi_weights=weights)


def fusion_pairs(path: Path) -> Path:
    torch.manual_seed(0)
    options = {"channels": 4, "levels": 2}
    return _store(path, contract_of_pairs(options), PairFuser(**options), "network.")
