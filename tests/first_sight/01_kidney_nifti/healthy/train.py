"""Kidney and kidney tumour segmentation from NIfTI, slices brought to a common matrix."""
import os
import tempfile

import nibabel as nib
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy import ndimage
from torch.utils.data import DataLoader, Dataset

STRUCTURES = ["tumour", "kidney"]
MATRIX = 64


def phantom(rng, n):
    """One patient: (n, n, 5) CT in HU and label map (1 tumour, 2 kidney)."""
    yy, xx, zz = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), np.arange(5), indexing="ij")
    ct = np.full((n, n, 5), -900.0)
    body = (yy / 0.85) ** 2 + (xx / 0.95) ** 2 < 1
    ct[body] = -60
    lab = np.zeros((n, n, 5), np.uint8)
    for side in (-1, 1):
        cy, cx = rng.uniform(-0.1, 0.2), side * rng.uniform(0.42, 0.55)
        ry, rx = rng.uniform(0.36, 0.46), rng.uniform(0.22, 0.3)
        kidney = ((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2 < 1 - 0.06 * np.abs(zz - 2)
        lab[kidney], ct[kidney] = 2, 160
        if side == rng.choice([-1, 1]) or rng.random() < 0.3:
            angle, r = rng.uniform(0, 6.3), rng.uniform(0.13, 0.2)
            lump = (yy - cy - 0.7 * ry * np.sin(angle)) ** 2 + (xx - cx - 0.7 * rx * np.cos(angle)) ** 2 < r ** 2 - 0.003 * (zz - 2) ** 2
            lab[lump], ct[lump] = 1, 50
    ct = ndimage.gaussian_filter(ct, (0.4, 0.4, 0)) + rng.normal(0, 30, ct.shape)
    return ct.astype(np.int16), lab


def write_cohort(folder, count, seed):
    rng = np.random.default_rng(seed)
    for i in range(count):
        ct, lab = phantom(rng, int(rng.integers(26, 38)))
        nib.save(nib.Nifti1Image(ct, np.diag([8.0, 8.0, 5.0, 1])), os.path.join(folder, f"case{i:03d}_ct.nii.gz"))
        nib.save(nib.Nifti1Image(lab, np.diag([8.0, 8.0, 5.0, 1])), os.path.join(folder, f"case{i:03d}_seg.nii.gz"))


def fit(volume, size, order=1):
    return ndimage.zoom(volume, (size / volume.shape[0], size / volume.shape[1], 1), order=order)


class Slices(Dataset):
    def __init__(self, folder):
        self.items = []
        for name in sorted(f for f in os.listdir(folder) if f.endswith("_ct.nii.gz")):
            ct = nib.load(os.path.join(folder, name)).get_fdata(dtype=np.float32)
            seg = np.asarray(nib.load(os.path.join(folder, name.replace("_ct", "_seg"))).dataobj)
            image = np.clip(fit(ct, MATRIX), -200, 300) / 250
            label = fit(seg, MATRIX, order=0)
            for z in range(ct.shape[2]):
                self.items.append((torch.from_numpy(image[None, ..., z]).float(), torch.from_numpy(label[..., z]).long()))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class UNet(nn.Module):
    def __init__(self, c=10, classes=3):
        super().__init__()
        block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.LeakyReLU(0.01),
                                           nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.LeakyReLU(0.01))
        self.d1, self.d2, self.d3 = block(1, c), block(c, 2 * c), block(2 * c, 4 * c)
        self.u2, self.u1 = block(6 * c, 2 * c), block(3 * c, c)
        self.head = nn.Conv2d(c, classes, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.d3(F.max_pool2d(b, 2))
        b = self.u2(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        return self.head(self.u1(torch.cat([F.interpolate(b, scale_factor=2), a], 1)))


@torch.no_grad()
def evaluate(model, folder):
    """Dice per structure on the patients' own grid."""
    model.eval()
    hit, size = np.zeros(3), np.zeros(3)
    for name in sorted(f for f in os.listdir(folder) if f.endswith("_ct.nii.gz")):
        ct = nib.load(os.path.join(folder, name)).get_fdata(dtype=np.float32)
        seg = np.asarray(nib.load(os.path.join(folder, name.replace("_ct", "_seg"))).dataobj)
        x = torch.from_numpy(np.clip(fit(ct, MATRIX), -200, 300) / 250).permute(2, 0, 1)[:, None].float()
        prob = F.interpolate(model(x).softmax(1), size=seg.shape[:2], mode="bilinear", align_corners=True)
        pred = prob.argmax(1).permute(1, 2, 0).numpy()
        for k in (1, 2):
            hit[k] += 2 * ((pred == k) & (seg == k)).sum()
            size[k] += (pred == k).sum() + (seg == k).sum()
    return hit[1:] / size[1:]


def main():
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as train_dir, tempfile.TemporaryDirectory() as test_dir:
        write_cohort(train_dir, 24, 1)
        write_cohort(test_dir, 10, 2)
        loader = DataLoader(Slices(train_dir), batch_size=8, shuffle=True)
        model = UNet()
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
        for epoch in range(10):
            model.train()
            total = 0.0
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() / len(loader)
            if epoch % 2:
                dice = evaluate(model, test_dir)
                print(f"epoch {epoch} loss {total:.4f} " + " ".join(f"{o} {d:.3f}" for o, d in zip(STRUCTURES, dice)) + f" mean_dice {dice.mean():.4f}")


if __name__ == "__main__":
    main()
