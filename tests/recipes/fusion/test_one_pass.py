"""A network for disturbed pairs in one pass: trained, read back, fused with, exported, and not taken for another."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch

from traindx.errors import InputError
from traindx.recipes import registry
from traindx.recipes.fusion import inference
from traindx.recipes.fusion.phantom import phantom

TINY = [
    *("--preset=robust", "--data.source=phantom", "--data.size=32", "--data.val_size=32", "--data.train=3"),
    *("--data.val=2", "--data.batch_size=2", "--data.epoch_steps=4", "--model.channels=8", "--steps=8", "--threads=1"),
    *("--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("robust") / "run"
    assert registry()["fusion"].train([f"--out={out}", *TINY]) == 0
    return out


def test_it_fuses_at_once_and_draws_nothing(run):
    model = inference.load(run / "last.ckpt")
    assert model.sampler == "student"
    image = torch.rand(1, 1, 32, 48)
    batch = {"ct": 2 * image - 1, "mr": 1 - 2 * image}
    assert torch.equal(model.fuse(batch), model.fuse(batch))


def test_every_part_of_it_was_trained(run):
    first = inference.load(run / "last.ckpt").network.denoiser
    torch.manual_seed(0)
    fresh = type(first)(2, channels=8, align=True).state_dict()
    weights = first.state_dict()
    assert {name.split(".")[0] for name in weights} >= {"align", "leave"}
    assert all(not torch.equal(weights[name], fresh[name]) for name in weights if name.endswith("weight"))


def test_case_and_command_give_a_volume_on_the_grid_of_the_ct(run, tmp_path):
    hu, mr, _ = phantom(7, (4, 40, 44))
    for name, values in (("ct", hu), ("mri", mr)):
        nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), np.diag([2, 2, 3, 1])), tmp_path / f"{name}.nii.gz")
    out = tmp_path / "out"
    assert registry()["fusion"].predict([f"--checkpoint={run}", f"--case={tmp_path}", f"--out={out}"]) == 0
    (written,) = out.glob("*_fused.nii.gz")
    assert nibabel.load(written).shape == (44, 40, 4)


def test_another_network_refuses_its_weights(run, tmp_path):
    other = [*TINY, "--model.one_pass=false"]
    with pytest.raises(InputError, match="one_pass"):
        registry()["fusion"].train([f"--out={run}", *other, "--resume", "--steps=9"])


@pytest.mark.parametrize("to", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
def test_exported_it_gives_what_it_gives(run, to, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra serve is not installed")
        pytest.importorskip("onnxscript", reason="the extra serve is not installed")
    arguments = [f"--checkpoint={run}", f"--to={to}", f"--out={tmp_path}", "--size", "32", "40"]
    assert registry()["fusion"].export(arguments) == 0  # which compares both, and refuses where they differ
    assert list(tmp_path.glob("*.json"))
