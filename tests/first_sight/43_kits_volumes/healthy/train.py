"""Kidney in CT. Slices are taken out of the volumes for training; the score is per case, over whole volumes.

python train.py --data kits --epochs 10
"""
import argparse
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch.utils.data import DataLoader, Dataset


def make_case(path, seed, shape=(12, 48, 48)):
    """A body in HU with two kidneys, stored the way the scanner would give it."""
    rng = np.random.default_rng(seed)
    d, h, w = shape
    zz, yy, xx = np.mgrid[:d, :h, :w]
    body = ((yy - h / 2) / (0.42 * h)) ** 2 + ((xx - w / 2) / (0.46 * w)) ** 2 < 1
    volume = np.where(body, 40.0, -1000.0)
    spine = (yy - 0.7 * h) ** 2 + (xx - w / 2) ** 2 < 16
    volume[spine] = rng.uniform(250, 450)
    liver = ((yy - 0.35 * h) / 10) ** 2 + ((xx - 0.3 * w) / 9) ** 2 < 1
    volume[liver & body] = rng.uniform(85, 120)
    label = np.zeros(shape, np.uint8)
    for side in (-1, 1):
        cz, cy, cx = d / 2 + rng.uniform(-2, 2), h * (0.6 + rng.uniform(-0.05, 0.05)), w / 2 + side * w * rng.uniform(0.2, 0.26)
        r = rng.uniform(4.5, 6.5)
        kidney = ((zz - cz) / 4.5) ** 2 + ((yy - cy) / r) ** 2 + ((xx - cx) / (0.75 * r)) ** 2 < 1
        volume[kidney] = rng.uniform(130, 190)
        label[kidney] = 1
    volume += rng.normal(0, 18, shape)
    np.savez_compressed(path, volume=volume.astype(np.int16), label=label)


def normalize(volume):
    """Clip to the foreground window and standardise."""
    volume = np.clip(volume.astype(np.float32), -80, 305)
    return (volume - volume.mean()) / volume.std()


class Slices(Dataset):
    def __init__(self, files):
        self.items = []
        for file in files:
            case = np.load(file)
            volume, label = normalize(case["volume"]), case["label"]
            self.items += [(volume[z], label[z]) for z in range(len(volume))]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        image, mask = self.items[i]
        if np.random.rand() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        image = image + np.random.normal(0, 0.05, image.shape)
        return torch.from_numpy(image.copy()).float()[None], torch.from_numpy(mask.copy()).long()[None]


@torch.no_grad()
def predict_case(model, volume, batch=12):
    """Labels of a whole volume, slice by slice."""
    model.eval()
    volume = normalize(volume)
    out = []
    for start in range(0, len(volume), batch):
        x = torch.from_numpy(volume[start:start + batch].astype(np.float32))[:, None]
        out.append(model(x).argmax(1).numpy())
    return np.concatenate(out)


def evaluate(model, files):
    scores = []
    for file in files:
        case = np.load(file)
        prediction, label = predict_case(model, case["volume"]), case["label"]
        scores.append(2 * (prediction * label).sum() / max(prediction.sum() + label.sum(), 1))
    return float(np.mean(scores))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("kits"))
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    np.random.seed(0)
    torch.manual_seed(0)
    args.data.mkdir(exist_ok=True)
    for i in range(30):
        make_case(args.data / f"case_{i:05d}.npz", i)
    files = sorted(args.data.glob("case_*.npz"))
    train_files, val_files = files[:24], files[24:]

    loader = DataLoader(Slices(train_files), batch_size=12, shuffle=True)
    model = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(12, 24, 48), strides=(2, 2), num_res_units=1, norm="batch")
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for image, mask in loader:
            loss = loss_function(model(image), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        line = f"epoch {epoch + 1}/{args.epochs} loss {total / len(loader):.4f}"
        if (epoch + 1) % 2 == 0:
            line += f"  dice per case {evaluate(model, val_files):.3f}"
        print(line)
    torch.save(model.state_dict(), "kidney.pt")


if __name__ == "__main__":
    main()
