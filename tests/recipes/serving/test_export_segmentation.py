"""Segmentation without traindx: the client of docs/serving.md and the bundle give the masks of `traindx predict`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy import ndimage

import untrained
from traindx.errors import UsageError
from traindx.recipes import registry
from traindx.recipes.segmentation.inference import Predictor
from traindx.recipes.segmentation.preprocessing import normalise
from traindx.recipes.segmentation.sliding import predict_probabilities

PAGE = Path(__file__).resolve().parents[3] / "docs" / "serving.md"
AXES = {"RAS": np.eye(3), "LPS": np.diag([-1, -1, 1]), "PIR": np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])}


def volume(path: Path, shape=(30, 22, 19), spacing=(1.0, 1.0, 1.0), axes="RAS", ct=False, seed=0) -> Path:
    """Smooth random intensities, so that a mask depends on where a voxel is."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)
    values = 900 * values / values.std() if ct else 500 + 150 * values / values.std()
    affine = np.eye(4)
    affine[:3, :3] = AXES[axes] @ np.diag(spacing)
    affine[:3, 3] = (-40, 12, 77)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), affine), path)
    return path


def predicted(checkpoint: Path, image: Path, out: Path, *more: str) -> np.ndarray:
    assert registry()["segmentation"].predict([str(image), f"--checkpoint={checkpoint}", f"--out={out}", *more]) == 0
    return np.asarray(nibabel.load(out / image.name).dataobj)


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Path:
    (text,) = re.findall(r"```python\n(# segment\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path_factory.mktemp("client") / "segment.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", [untrained.ZSCORE, untrained.CT], ids=["mr", "ct"])
def test_the_client_of_the_page_makes_the_masks_of_predict(scheme, client, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra serve is not installed")
    pytest.importorskip("onnxscript", reason="the extra serve is not installed")
    checkpoint = untrained.segmentation(tmp_path / "model.ckpt", schemes=(scheme,))
    out = tmp_path / "out"
    assert registry()["segmentation"].export([f"--checkpoint={checkpoint}", "--to=onnx", f"--out={out}"]) == 0
    for name, options in {
        "as_the_plan": {},
        "other_axes": {"axes": "LPS", "shape": (17, 30, 16)},
        "smaller_than_a_window": {"axes": "PIR", "shape": (11, 24, 13)},
        "other_spacing": {"axes": "PIR", "shape": (14, 33, 21), "spacing": (1.7, 0.8, 1.2)},
    }.items():
        image = volume(tmp_path / f"{name}.nii.gz", ct=scheme.kind == "ct", **options)
        wanted = predicted(checkpoint, image, tmp_path / "predicted")
        command = [sys.executable, str(client), str(out / "model.onnx"), str(image), str(tmp_path / "mask.nii.gz")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = np.asarray(nibabel.load(tmp_path / "mask.nii.gz").dataobj)
        assert len(np.unique(wanted)) > 1, "the mask must be worth comparing"
        assert (found != wanted).mean() < 1e-3, name  # ties of float32
        assert (nibabel.load(tmp_path / "mask.nii.gz").affine == nibabel.load(image).affine).all()


def test_ensembles_mirrors_and_mixed_channels_are_in_the_program(tmp_path):
    schemes = (untrained.CT, untrained.ZSCORE)
    folds = [
        untrained.segmentation(tmp_path / f"{seed}.ckpt", schemes=schemes, flips=(0, 2), seed=seed) for seed in (0, 1)
    ]
    arguments = ["--checkpoint", *map(str, folds), "--to=torchscript", f"--out={tmp_path / 'out'}"]
    assert registry()["segmentation"].export(arguments) == 0
    program = torch.jit.load(str(tmp_path / "out" / "model.ts"))
    generator = torch.Generator().manual_seed(0)
    raw = 400 * torch.randn(2, 16, 16, 16, generator=generator)
    (found,) = program(raw[None], raw.mean(dim=(1, 2, 3))[None], raw.std(dim=(1, 2, 3), correction=0)[None])
    predictor = Predictor.load(folds)
    values = torch.from_numpy(normalise(raw.numpy(), schemes))[None]
    networks = [one.network for one in predictor.modules]
    wanted = predict_probabilities(networks, values, (16, 16, 16), flips=(0, 2))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    one_view = predict_probabilities(networks[:1], values, (16, 16, 16))
    assert float((one_view - wanted).abs().max()) > 0.01


def test_a_bundle_of_what_a_bundle_cannot_hold_is_refused(tmp_path):
    path = untrained.segmentation(tmp_path / "model.ckpt", flips=(1,))
    with pytest.raises(UsageError, match="2 checkpoints are given"):
        registry()["segmentation"].export(["--checkpoint", str(path), str(path), "--to=monai-bundle"])
    with pytest.raises(UsageError, match="mirrored views") as refused:
        registry()["segmentation"].export(["--checkpoint", str(path), "--to=monai-bundle"])
    assert "--no-flips" in str(refused.value)


def bundled(tmp_path: Path, checkpoint: Path) -> Path:
    assert (
        registry()["segmentation"].export([f"--checkpoint={checkpoint}", "--to=monai-bundle", f"--out={tmp_path}"]) == 0
    )
    return tmp_path / "traindx_segmentation"


def run_bundle(root: Path, images: Path) -> dict[str, np.ndarray]:
    """The masks that the bundle's own configuration makes, without its evaluator, which needs pytorch-ignite."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "inference.json"))
    parser.update({"bundle_root": str(root), "dataset_dir": str(images), "device": "$torch.device('cpu')"})
    network = parser.get_parsed_content("network")
    parser.get_parsed_content("network_def").load_state_dict(
        torch.load(root / "models" / "model.pt", weights_only=True)
    )
    inferer, after = (parser.get_parsed_content(name) for name in ("inferer", "postprocessing"))
    for item in parser.get_parsed_content("dataset"):
        with torch.no_grad():
            item["pred"] = inferer(item["image"][None], network.eval())[0]
        after(item)
    made = (root / "eval").glob("*_seg.nii.gz")
    return {path.name.replace("_seg", ""): np.asarray(nibabel.load(path).dataobj) for path in made}


@pytest.mark.parametrize(
    ("scheme", "architecture", "settings"),
    [
        (untrained.ZSCORE, "dynunet", {}),
        (untrained.ZSCORE, "unet", {}),
        (untrained.CT, "dynunet", {"threshold": 0.7, "cleanup": {"largest": True, "fill_holes": True}}),
        (untrained.CT, "dynunet", {"cleanup": {"min_voxels": 10}}),
    ],
    ids=["mr", "mr, unet", "ct", "specks"],
)
def test_a_bundle_makes_the_masks_of_predict(scheme, architecture, settings, tmp_path):
    checkpoint = untrained.segmentation(tmp_path / "model.ckpt", schemes=(scheme,), architecture=architecture)
    stored = torch.load(checkpoint, weights_only=True)
    stored["contract"]["inference"].update(settings)
    torch.save(stored, checkpoint)
    root = bundled(tmp_path, checkpoint)
    images = tmp_path / "images"
    images.mkdir()
    options = {"ct": scheme.kind == "ct"}
    volume(images / "plan.nii.gz", **options)
    volume(images / "axes.nii.gz", axes="LPS", shape=(17, 30, 16), **options)
    if not settings:
        volume(images / "spacing.nii.gz", axes="PIR", shape=(14, 33, 21), spacing=(1.7, 0.8, 1.2), **options)
    found = run_bundle(root, images)
    shares = {}
    for path in images.iterdir():
        wanted = predicted(checkpoint, path, tmp_path / "predicted")
        assert len(np.unique(wanted)) > 1, "the mask must be worth comparing"
        shares[path.name] = float((found[path.name] != wanted).mean())
    assert shares["plan.nii.gz"] < 1e-3
    assert shares["axes.nii.gz"] < 1e-3
    assert shares.get("spacing.nii.gz", 0) < 0.25, shares  # random weights: every voxel is at a border


def test_monai_verifies_the_bundle(tmp_path):
    from monai.bundle import ConfigWorkflow, verify_net_in_out

    root = bundled(tmp_path, untrained.segmentation(tmp_path / "model.ckpt", schemes=(untrained.CT,)))
    (root / "images").mkdir()
    volume(root / "images" / "a.nii.gz")
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {"images/a.nii.gz"}
    assert files == {
        *("configs/metadata.json", "configs/inference.json", "models/model.pt", "docs/README.md", "LICENSE"),
    }
    config, metadata = str(root / "configs" / "inference.json"), str(root / "configs" / "metadata.json")
    verify_net_in_out("network_def", meta_file=metadata, config_file=config, device="cpu")
    told = json.loads(Path(metadata).read_text())
    required = "schema version monai_version pytorch_version numpy_version required_packages_version task description"
    assert {*required.split(), "authors", "copyright", "network_data_format"} <= set(told)  # those of MONAI's schema
    pytest.importorskip("ignite", reason="pytorch-ignite is not installed: MONAI's evaluator cannot be made")
    workflow = ConfigWorkflow(config_file=config, meta_file=metadata, workflow_type="infer", bundle_root=str(root))
    workflow.initialize()
    assert not workflow.check_properties()
    workflow.run()
    assert (root / "eval" / "a_seg.nii.gz").exists()
