"""Segmentation of masses in mammograms, patches of four views, MONAI transforms and a dictionary of settings."""
import numpy as np
import torch
import torch.nn as nn
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet
from monai.transforms import Compose, RandFlip, RandRotate90
from monai.utils import set_determinism
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset

CONFIG = {
    "seed": 42,
    "size": 48,
    "patients": {"train": 45, "val": 14},
    "features": (8, 8, 16, 16, 16, 8),
    "batch_size": 12,
    "epochs": 9,
    "lr": 4e-3,
    "flip_probability": 0.5,
    "rotate_probability": 0.75,
}


def simulate_patient(rng, size):
    """Four views with one mass each; the annotation holds 2 where two readers agree and 1 where only one saw the mass."""
    views = []
    for _ in range(4):
        y, x = np.mgrid[:size, :size]
        tissue = gaussian_filter(rng.normal(0, 1, (size, size)), 5)
        image = 0.4 + 0.12 * tissue / tissue.std()
        strands = gaussian_filter(rng.normal(0, 1, (size, size)), (0.7, 4))
        image += 0.06 * strands / strands.std()
        cy, cx = rng.uniform(8, size - 8, 2)
        theta = np.arctan2(y - cy, x - cx)
        edge = rng.uniform(4, 8) * (1 + 0.2 * np.cos(rng.integers(2, 6) * theta + rng.uniform(0, 6)))
        distance = np.hypot(y - cy, x - cx)
        image += rng.uniform(0.18, 0.35) / (1 + np.exp((distance - edge) / 0.8))
        mask = (distance < edge).astype(float) + (distance < edge - 1)
        views.append((image + rng.normal(0, 0.04, image.shape), mask))
    return views


class MassPatches(Dataset):
    def __init__(self, patients, size, seed, transform=None):
        rng = np.random.default_rng(seed)
        self.views = [view for _ in range(patients) for view in simulate_patient(rng, size)]
        self.transform = transform

    def __len__(self):
        return len(self.views)

    def __getitem__(self, index):
        image, mass_mask = (torch.tensor(array, dtype=torch.float32).unsqueeze(0) for array in self.views[index])
        mass_mask = mass_mask.clamp(max=1.0)
        image = (image - image.mean()) / image.std()
        if self.transform is not None:
            image, mass_mask = self.transform(torch.cat([image, mass_mask])).split(1)
        return image, mass_mask


def make_loaders(config):
    augmentation = Compose([
        RandFlip(prob=config["flip_probability"], spatial_axis=0),
        RandFlip(prob=config["flip_probability"], spatial_axis=1),
        RandRotate90(prob=config["rotate_probability"], max_k=3),
    ])
    train_set = MassPatches(config["patients"]["train"], config["size"], config["seed"], augmentation)
    val_set = MassPatches(config["patients"]["val"], config["size"], config["seed"] + 1)
    return (
        DataLoader(train_set, batch_size=config["batch_size"], shuffle=True, drop_last=True),
        DataLoader(val_set, batch_size=config["batch_size"]),
    )


class DiceBCE(nn.Module):
    def __init__(self):
        super().__init__()
        self.dice, self.bce = DiceLoss(sigmoid=True), nn.BCEWithLogitsLoss()

    def forward(self, logits, mask):
        return self.dice(logits, mask) + self.bce(logits, mask)


def train(model, loader, criterion, optimizer):
    model.train()
    running = 0.0
    for image, mask in loader:
        loss = criterion(model(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item()
    return running / len(loader)


@torch.no_grad()
def validate(model, loader, criterion):
    model.eval()
    losses, scores = [], []
    for image, mask in loader:
        logits = model(image)
        losses.append(criterion(logits, mask).item())
        predicted = (logits > 0).float()
        overlap = (predicted * mask).sum((1, 2, 3))
        scores.append(2 * overlap / (predicted.sum((1, 2, 3)) + mask.sum((1, 2, 3))))
    return np.mean(losses), torch.cat(scores).mean().item()


def main(config):
    set_determinism(config["seed"])
    train_loader, val_loader = make_loaders(config)
    model = BasicUNet(spatial_dims=2, in_channels=1, out_channels=1, features=config["features"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config["epochs"])
    criterion = DiceBCE()
    for epoch in range(1, config["epochs"] + 1):
        train_loss = train(model, train_loader, criterion, optimizer)
        scheduler.step()
        val_loss, dice = validate(model, val_loader, criterion)
        print(f"epoch {epoch}/{config['epochs']} train loss {train_loss:.4f} val loss {val_loss:.4f} val Dice {dice:.4f}")


if __name__ == "__main__":
    main(CONFIG)
