"""Abdominal slices, three organs. Training cases come from the old annotation tool, validation from ours."""
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data import CacheDataset, DataLoader, decollate_batch
from monai.losses import DiceCELoss
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.transforms import (AsDiscrete, Compose, EnsureChannelFirstd, EnsureTyped, LoadImaged, MapTransform,
                              RandGaussianNoised, RandShiftIntensityd, ScaleIntensityRanged)
from monai.utils import set_determinism

ORGANS = ("liver", "spleen", "kidney")
OLD_TOOL = {"kidney": 1, "liver": 2, "spleen": 3}
TO_OURS = {OLD_TOOL[name]: ORGANS.index(name) + 1 for name in sorted(OLD_TOOL, key=OLD_TOOL.get)}
ROOT = Path("abdomen")


def draw(rng):
    yy, xx = np.mgrid[-1:1:64j, -1:1:64j]
    hu = np.full((64, 64), -900.0)
    hu[(yy / 0.75) ** 2 + (xx / 0.92) ** 2 < 1] = -80
    where = {"liver": (-0.1, -0.42, 0.38, 0.3, 110), "spleen": (-0.12, 0.55, 0.24, 0.18, 130), "kidney": (0.38, 0.2, 0.18, 0.13, 190)}
    organs = np.zeros((64, 64), np.uint8)
    for name, (cy, cx, ry, rx, value) in where.items():
        cy, cx = cy + rng.normal(0, 0.05), cx + rng.normal(0, 0.05)
        ry, rx = ry * rng.uniform(0.8, 1.2), rx * rng.uniform(0.8, 1.2)
        inside = ((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2 < 1
        hu[inside] = value + rng.normal(0, 8)
        organs[inside] = ORGANS.index(name) + 1
    return hu + rng.normal(0, 25, hu.shape), organs


def write_cases(folder, n, rng, codes):
    (ROOT / folder).mkdir(parents=True, exist_ok=True)
    files = []
    for i in range(n):
        hu, organs = draw(rng)
        label = np.zeros_like(organs)
        for k, name in enumerate(ORGANS, 1):
            label[organs == k] = codes[name]
        item = {"image": str(ROOT / folder / f"ct_{i:03d}.nii.gz"), "label": str(ROOT / folder / f"seg_{i:03d}.nii.gz")}
        nib.save(nib.Nifti1Image(hu.astype(np.float32), np.eye(4)), item["image"])
        nib.save(nib.Nifti1Image(label, np.eye(4)), item["label"])
        files.append(item)
    return files


class ConvertOrganIds(MapTransform):
    def __init__(self, keys, mapping):
        super().__init__(keys)
        self.mapping = mapping

    def __call__(self, data):
        data = dict(data)
        for key in self.key_iterator(data):
            label = data[key].clone()
            for old, new in self.mapping.items():
                label[label == old] = new
            data[key] = label
        return data


def main():
    set_determinism(0)
    rng = np.random.default_rng(0)
    train_files = write_cases("train", 80, rng, OLD_TOOL)
    val_files = write_cases("val", 24, rng, {name: k for k, name in enumerate(ORGANS, 1)})
    keys = ["image", "label"]
    load = [LoadImaged(keys), EnsureChannelFirstd(keys), ScaleIntensityRanged("image", -160, 240, 0, 1, clip=True)]
    train_tf = Compose([*load, ConvertOrganIds("label", TO_OURS), RandShiftIntensityd("image", 0.05, prob=0.5),
                        RandGaussianNoised("image", prob=0.3, std=0.05), EnsureTyped(keys)])
    train_dl = DataLoader(CacheDataset(train_files, train_tf, progress=False), batch_size=8, shuffle=True)
    val_dl = DataLoader(CacheDataset(val_files, Compose([*load, EnsureTyped(keys)]), progress=False), batch_size=8)

    net = UNet(spatial_dims=2, in_channels=1, out_channels=4, channels=(12, 24, 48), strides=(2, 2), num_res_units=1)
    loss_fn = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    opt = torch.optim.AdamW(net.parameters(), 3e-3)
    metric = DiceMetric(include_background=False, reduction="mean_batch")
    post_pred, post_label = AsDiscrete(argmax=True, to_onehot=4), AsDiscrete(to_onehot=4)
    for epoch in range(1, 13):
        net.train()
        total = 0.0
        for batch in train_dl:
            opt.zero_grad()
            loss = loss_fn(net(batch["image"]), batch["label"])
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 3:
            continue
        net.eval()
        with torch.no_grad():
            for batch in val_dl:
                out = [post_pred(x) for x in decollate_batch(net(batch["image"]))]
                metric(out, [post_label(x) for x in decollate_batch(batch["label"])])
        dice = metric.aggregate()
        metric.reset()
        text = " ".join(f"{name} {d:.3f}" for name, d in zip(ORGANS, dice.tolist()))
        print(f"epoch {epoch} train_loss {total / len(train_dl):.4f} val_dice {dice.mean().item():.4f} ({text})")


if __name__ == "__main__":
    main()
