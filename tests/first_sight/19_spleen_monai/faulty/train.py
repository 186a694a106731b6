"""Spleen segmentation with MONAI: dictionary transforms, CacheDataset, SupervisedTrainer / SupervisedEvaluator."""
import logging
import os
import sys
import tempfile
import warnings

import nibabel as nib
import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, StatsHandler, ValidationHandler, from_engine
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceLoss, FocalLoss
from monai.networks import one_hot
from monai.networks.nets import UNet
from monai.transforms import (AsDiscreted, Compose, EnsureChannelFirstd, LoadImaged, RandCropByPosNegLabeld, RandFlipd, RandGaussianNoised,
                              ScaleIntensityRanged)
from monai.utils import set_determinism

warnings.filterwarnings("ignore")
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")


def write_case(folder, number, rng):
    grid = np.meshgrid(*[np.linspace(-1, 1, s) for s in (40, 40, 16)], indexing="ij")
    body = (grid[0] / 0.9) ** 2 + (grid[1] / 0.9) ** 2 < 1
    ct = np.where(body, 0.0, -500.0)
    ct[(((grid[0] + 0.35) / 0.4) ** 2 + ((grid[1] - 0.1) / 0.5) ** 2 + (grid[2] / 0.9) ** 2 < 1)] = 110
    c = np.array([0.45, -0.2, 0.0]) + rng.uniform(-0.12, 0.12, 3)
    r = np.array([0.22, 0.3, 0.6]) * rng.uniform(0.8, 1.2, 3)
    spleen = sum(((g - a) / b) ** 2 for g, a, b in zip(grid, c, r)) < 1
    ct[spleen & body] = 120
    ct += rng.normal(0, 35, ct.shape)
    paths = {key: os.path.join(folder, f"{key}_{number}.nii.gz") for key in ("image", "label")}
    nib.save(nib.Nifti1Image(ct.astype(np.float32), np.eye(4)), paths["image"])
    nib.save(nib.Nifti1Image((spleen & body).astype(np.uint8), np.eye(4)), paths["label"])
    return paths


def report(engine):
    print(f'epoch {engine.state.epoch} loss {engine.state.output["loss"]:.4f}')


class DiceFocal(torch.nn.Module):
    """Sum of soft Dice and focal loss on two-channel logits, background left out."""

    def __init__(self, lambda_dice=1.0, lambda_focal=1.0):
        super().__init__()
        self.dice = DiceLoss(softmax=True, include_background=True)
        self.focal = FocalLoss(include_background=True, gamma=2.0)
        self.lambda_dice, self.lambda_focal = lambda_dice, lambda_focal

    def forward(self, logits, label):
        target = one_hot(label, num_classes=logits.shape[1])
        foreground, target_foreground = logits[:, 1:], target[:, 1:]
        return self.lambda_dice * self.dice(foreground, target_foreground) + self.lambda_focal * self.focal(foreground, target_foreground)


def main():
    set_determinism(0)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        files = [write_case(folder, i, rng) for i in range(20)]
        keys = ["image", "label"]
        base = [LoadImaged(keys), EnsureChannelFirstd(keys), ScaleIntensityRanged("image", -200, 300, -1, 1, clip=True)]
        train_tf = Compose(base + [RandCropByPosNegLabeld(keys, "label", (24, 24, 16), pos=1, neg=1, num_samples=2), RandFlipd(keys, 0.5, 2), RandGaussianNoised("image", 0.3, std=0.05)])
        train = DataLoader(CacheDataset(files[:14], train_tf, progress=False), batch_size=2, shuffle=True)
        val = DataLoader(CacheDataset(files[14:], Compose(base), progress=False), batch_size=1)
        net = UNet(3, 1, 2, channels=(8, 16, 24), strides=(2, 2), num_res_units=1, norm="instance")
        optimizer = torch.optim.Adam(net.parameters(), 5e-3)
        post = Compose([AsDiscreted("pred", argmax=True, to_onehot=2), AsDiscreted("label", to_onehot=2)])
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"), val_data_loader=val, network=net, inferer=SlidingWindowInferer((24, 24, 16), 4, overlap=0.25), postprocessing=post,
            key_val_metric={"val_dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))},
            val_handlers=[StatsHandler(output_transform=lambda _: None)], decollate=True)
        trainer = SupervisedTrainer(
            device=torch.device("cpu"), max_epochs=30, train_data_loader=train, network=net, optimizer=optimizer, loss_function=DiceFocal(),
            train_handlers=[ValidationHandler(5, evaluator), StatsHandler(iteration_log=False, epoch_print_logger=report)], decollate=False)
        trainer.run()


if __name__ == "__main__":
    main()
