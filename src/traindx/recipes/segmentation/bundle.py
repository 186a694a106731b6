"""A MONAI bundle of one network: MONAI's own network, transforms and inferer, configured as the plan says.

Layout and metadata are those of the MONAI Bundle Specification (docs.monai.io, *mb_specification*). Nothing of traindx
is needed to run it, so its resampling is MONAI's, which differs a little from that of ``traindx predict`` where a
volume has another spacing than the plan; on the plan's spacing masks are the same.
"""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from traindx.errors import CaseError, UsageError
from traindx.recipes.kit.export import store_bytes
from traindx.recipes.segmentation.cleanup import clean
from traindx.recipes.segmentation.inference import Predictor
from traindx.recipes.segmentation.model import class_of, network_options
from traindx.recipes.segmentation.preprocessing import SPACING_TOLERANCE
from traindx.recipes.segmentation.sliding import OVERLAP, SIGMA_SCALE
from traindx.version import __version__

NAME = "traindx_segmentation"
SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
"""Where MONAI publishes the schema that ``python -m monai.bundle verify_metadata`` checks against."""


def write(predictor: Predictor, options: argparse.Namespace, checkpoint: Path) -> int:
    """Write the bundle, run its network once beside ours, and say how to use it.

    Raises:
        UsageError: The masks are averaged over mirrored views, or channels are of several kinds.
        CaseError: The network that the bundle describes is not the one of the checkpoint.
    """
    _check_possible(predictor)
    root: Path = options.out / NAME
    network = predictor.modules[0].network
    config, metadata = inference(predictor), metadata_of(predictor)
    state = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    _check_same(config["network_def"], state, network, predictor)
    for folder in ("configs", "models", "docs"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    torch.save(state, root / "models" / "model.pt")
    for name, content in (("inference.json", config), ("metadata.json", metadata)):
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        store_bytes(root / "configs" / name, text.encode())
    if predictor.settings.cleanup.does_something:
        (root / "scripts").mkdir(exist_ok=True)
        store_bytes(root / "scripts" / "cleanup.py", _script(predictor).encode())
    store_bytes(root / "docs" / "README.md", _readme(predictor).encode())
    store_bytes(root / "LICENSE", _LICENSE.encode())
    print(f"wrote {root}: one network, window {'x'.join(map(str, predictor.plan.patch))}, from {checkpoint.name}")
    print(
        "run it: python -m monai.bundle run --config_file configs/inference.json --bundle_root . --dataset_dir IMAGES "
        "(pip install 'monai[fire,ignite,nibabel]')"
    )
    if predictor.modules[0].bf16:
        print("note: traindx predict runs this plan in bfloat16, the bundle in float32")
    return 0


def _check_possible(predictor: Predictor) -> None:
    if predictor.settings.flips:
        raise UsageError(
            f"the masks of this checkpoint are averaged over mirrored views of the axes {predictor.settings.flips}, "
            "which no part of a MONAI bundle does",
            expected="a bundle without them, or a program with them",
            do="add --no-flips, or use --to torchscript or --to onnx",
        )
    kinds = {scheme.kind for scheme in predictor.plan.normalisation}
    if len(kinds) > 1:
        raise UsageError(
            "some channels are standardised as CT and others by their volume, which MONAI's "
            "transforms do to all or none",
            expected="channels of one kind",
            do="use --to torchscript or --to onnx",
        )


def _check_same(described: dict[str, Any], state: dict[str, Any], network: Any, predictor: Predictor) -> None:
    """Build the network from its description as MONAI will, and compare one output."""
    from monai.bundle import ConfigParser

    made = ConfigParser({"network_def": described}).get_parsed_content("network_def")
    made.load_state_dict(state)
    given = torch.randn(1, predictor.plan.channels, *predictor.plan.patch, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = float((made.eval()(given) - network.eval()(given)).abs().max())
    if not difference <= 1e-4:
        raise CaseError(f"the network that the bundle describes differs by {difference:.2g} from the checkpoint's")


def inference(predictor: Predictor) -> dict[str, Any]:
    """The content of ``configs/inference.json``."""
    plan, module = predictor.plan, predictor.modules[0]
    cleanup = (
        {"cleanup": "$runpy.run_path(@bundle_root + '/scripts/cleanup.py')['cleaned']"}
        if predictor.settings.cleanup.does_something
        else {}
    )
    return {
        "imports": ["$import glob", "$import os", "$import runpy", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "ckpt_path": "$@bundle_root + '/models/model.pt'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii*')))",
        "network_def": {"_target_": class_of(module.architecture), **network_options(plan, **_options(predictor))},
        # probabilities are averaged over windows, as in predict, and not logits
        "network": "$torch.nn.Sequential(@network_def, torch.nn.Softmax(dim=1)).to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": _before(predictor)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(plan.patch),
            "sw_batch_size": 1,
            "overlap": OVERLAP,
            "mode": "gaussian",
            "sigma_scale": SIGMA_SCALE,
        },
        **cleanup,
        "postprocessing": {"_target_": "Compose", "transforms": _after(predictor)},
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "@ckpt_path",
                "load_dict": {"model": "@network_def"},
                "strict": True,
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "initialize": [],
        "run": ["$@evaluator.run()"],
    }


def _options(predictor: Predictor) -> dict[str, Any]:
    module = predictor.modules[0]
    return {
        "architecture": module.architecture,
        "deep_supervision": module.deep_supervision,
        "dropout": module.dropout,
    }


def _before(predictor: Predictor) -> list[dict[str, Any]]:
    """As ``preprocessing.prepare_image``: axes, normalisation, and only then the grid."""
    plan = predictor.plan
    steps: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
    ]
    if plan.normalisation[0].kind == "ct":
        subtract = [scheme.mean for scheme in plan.normalisation]
        divide = [scheme.sd for scheme in plan.normalisation]
        steps.append(
            {
                "_target_": "Lambdad",
                "keys": "image",
                "func": "$lambda image: torch.maximum(torch.minimum(image, "
                f"{_column([s.high for s in plan.normalisation])}), {_column([s.low for s in plan.normalisation])})",
            }
        )
        steps.append(
            {
                "_target_": "NormalizeIntensityd",
                "keys": "image",
                "subtrahend": subtract,
                "divisor": divide,
                "channel_wise": True,
            }
        )
    else:
        steps.append({"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True})
    steps.append(
        {
            "_target_": "Spacingd",
            "keys": "image",
            "pixdim": list(plan.spacing),
            "mode": "bilinear",
            "padding_mode": "border",
            "align_corners": False,
            "min_pixdim": [value * (1 - SPACING_TOLERANCE) for value in plan.spacing],
            "max_pixdim": [value * (1 + SPACING_TOLERANCE) for value in plan.spacing],
        }
    )
    return steps


def _column(values: list[float]) -> str:
    return f"torch.tensor({values}).view(-1, 1, 1, 1)"


def _after(predictor: Predictor) -> list[dict[str, Any]]:
    """As ``traindx predict``: back to the file's grid, class, clean-up, values of the label files."""
    plan, settings = predictor.plan, predictor.settings
    steps: list[dict[str, Any]] = [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
    ]
    if settings.threshold is None:
        steps.append({"_target_": "AsDiscreted", "keys": "pred", "argmax": True})
    else:
        steps.append(
            {
                "_target_": "Lambdad",
                "keys": "pred",
                "func": f"$lambda p: (p[1:].argmax(dim=0, keepdim=True) + 1) * (1 - p[:1] >= {settings.threshold})",
            }
        )
    if settings.cleanup.does_something:
        steps.append({"_target_": "Lambdad", "keys": "pred", "func": "@cleanup"})
    values = [group[0] for group in plan.labels.classes.values()]
    if [plan.labels.background[0], *values] != list(range(plan.labels.channels)):
        steps.append(
            {
                "_target_": "MapLabelValued",
                "keys": "pred",
                "orig_labels": list(range(plan.labels.channels)),
                "target_labels": [plan.labels.background[0], *values],
            }
        )
    steps.append(
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "seg",
            "separate_folder": False,
            "output_dtype": f"$__import__('numpy').{np.dtype(plan.label_dtype).name}",
        }
    )
    return steps


def _script(predictor: Predictor) -> str:
    """``scripts/cleanup.py``: MONAI's own clean-up counts components and fills holes by other rules than ours."""
    return f'''"""Removes specks and fills holes, class by class, as traindx predict does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from scipy import ndimage

HOW = SimpleNamespace(**{predictor.settings.cleanup.model_dump()})


def cleaned(classes):
    """Class indices of shape (1, D, H, W)."""
    made = clean(np.asarray(classes[0]).astype(np.uint8), HOW)
    out = classes.clone()
    out[0] = torch.from_numpy(made).to(out)
    return out


{inspect.getsource(clean)}'''


def metadata_of(predictor: Predictor) -> dict[str, Any]:
    """The content of ``configs/metadata.json``."""
    import monai

    plan = predictor.plan
    ct = plan.normalisation[0].kind == "ct"
    names = ["background", *plan.labels.names]
    shape = list(plan.patch)
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by traindx {__version__}"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {
            "nibabel": "5.2.0",
            "pytorch-ignite": "0.4.11",
            **({"scipy": "1.11.0"} if predictor.settings.cleanup.does_something else {}),
        },
        "name": NAME,
        "task": f"segmentation of {', '.join(plan.labels.names)}",
        "description": f"A {class_of(predictor.modules[0].architecture)} that was trained by traindx train "
        "segmentation. Not a medical device: its accuracy is what traindx evaluate measures on data of yours.",
        "authors": "whoever trained it",
        "copyright": "whoever trained it",
        "data_type": "nibabel",
        "image_classes": "CT in HU" if ct else "one or several channels, each standardised by its own volume",
        "pred_classes": ", ".join(f"{index}: {name}" for index, name in enumerate(names)),
        "intended_use": "research",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield" if ct else "magnitude",
                    "modality": "CT" if ct else "any",
                    "num_channels": plan.channels,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [-10, 10],
                    "is_patch_data": True,
                    "channel_def": {str(index): f"channel {index}" for index in range(plan.channels)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": plan.labels.channels,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [-100, 100],
                    "is_patch_data": True,
                    "channel_def": {str(index): name for index, name in enumerate(names)},
                }
            },
        },
    }


def _readme(predictor: Predictor) -> str:
    plan = predictor.plan
    spacing = " x ".join(f"{value:g}" for value in plan.spacing)
    return f"""# {NAME}

Segments {", ".join(plan.labels.names)}. Exported by traindx {__version__} from a checkpoint of
`traindx train segmentation`.

    python -m monai.bundle run --config_file configs/inference.json --bundle_root . --dataset_dir IMAGES

segments every NIfTI file of IMAGES into `eval/`. Volumes are turned to RAS+, standardised, resampled to {spacing} mm,
cut into windows of {" x ".join(map(str, plan.patch))} voxels, and the probabilities brought back onto the grid of the
file.
The masks hold {dict(zip(["background", *plan.labels.names], _values(predictor), strict=True))}.

On volumes of this spacing the masks are those of `traindx predict segmentation --no-flips`; on others MONAI resamples
in its own way, so they differ by some voxels at borders. Its accuracy is not stated here: measure it on your data.
"""


def _values(predictor: Predictor) -> list[int]:
    labels = predictor.plan.labels
    return [labels.background[0], *(values[0] for values in labels.classes.values())]


_LICENSE = """The weights belong to whoever trained them; put their licence here before you pass the bundle on.
The configuration was written by traindx, Apache-2.0.
"""
