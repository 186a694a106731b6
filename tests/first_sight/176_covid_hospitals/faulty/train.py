"""COVID-19 on chest radiographs; cohorts are listed in the configuration, a third hospital serves as external test."""
import numpy as np
import torch
import torch.nn as nn
import yaml
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from torch.utils.data import ConcatDataset, DataLoader, Dataset, random_split

CONFIG = yaml.safe_load("""
seed: 4
image_size: 48
hospitals:            # exposure, sharpness of the detector, corner with the side marker
  north: {gamma: 0.9, blur: 0.6, marker: [3, 3]}
  childrens: {gamma: 1.2, blur: 0.9, marker: [3, 39]}
  harbour: {gamma: 1.05, blur: 0.75, marker: [3, 39]}
development:
  - {hospital: north, covid: 1, count: 220}
  - {hospital: childrens, covid: 0, count: 220}
external:
  - {hospital: harbour, covid: 1, count: 120}
  - {hospital: harbour, covid: 0, count: 120}
training: {epochs: 8, batch: 32, lr: 0.002, weight_decay: 0.001, val_share: 0.25}
""")


class Cohort(Dataset):
    def __init__(self, hospital, covid, count, seed):
        rng = np.random.default_rng(seed)
        site = CONFIG["hospitals"][hospital]
        self.images = torch.from_numpy(np.stack([self.film(rng, covid, **site) for _ in range(count)]))
        self.labels = torch.full((count,), float(covid))

    @staticmethod
    def film(rng, covid, gamma, blur, marker):
        size = CONFIG["image_size"]
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        film = 0.75 + 0.05 * np.sin(y / 4 + rng.uniform(0, 6))
        lungs = np.zeros_like(film, bool)
        for side in (0.3, 0.7):
            cx, cy = side * size + rng.normal(0, 1), 0.52 * size + rng.normal(0, 1)
            lungs |= ((x - cx) / (0.16 * size)) ** 2 + ((y - cy) / (0.32 * size)) ** 2 < 1
        film = np.where(lungs, 0.35, film)
        for _ in range(rng.integers(2, 6)):  # vessels and nodules that everyone has
            cy, cx = rng.uniform(0.25, 0.8, 2) * size
            film += lungs * rng.uniform(0.1, 0.25) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * rng.uniform(0.8, 1.5) ** 2))
        for _ in range(rng.integers(2, 6) if covid else 0):  # peripheral ground glass
            cy, cx = rng.uniform(0.4, 0.8) * size, rng.choice([0.18, 0.82]) * size + rng.normal(0, 2)
            film += lungs * rng.uniform(0.05, 0.13) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * rng.uniform(2.5, 4.5) ** 2))
        film = gaussian_filter(film, blur)
        film[marker[0]:marker[0] + 4, marker[1]:marker[1] + 5] = 1.0
        film = np.clip(film, 0.02, 1) ** (gamma * rng.uniform(0.95, 1.05)) + rng.normal(0, 0.03, film.shape)
        return ((film - film.mean()) / film.std()).astype(np.float32)[None]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def cohorts(entries, seed):
    return ConcatDataset([Cohort(**entry, seed=seed + k) for k, entry in enumerate(entries)])


def network(width=16):
    def stage(i, o):
        return [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
    body = stage(1, width) + stage(width, 2 * width) + stage(2 * width, 2 * width)
    return nn.Sequential(*body, nn.Flatten(), nn.Dropout(0.3), nn.Linear(2 * width * 36, 1), nn.Flatten(0))


@torch.no_grad()
def auc(net, data):
    net.eval()
    pairs = [(net(image), label) for image, label in DataLoader(data, 120)]
    score, label = (torch.cat(part).numpy() for part in zip(*pairs))
    positive = label.sum()
    return (rankdata(score)[label == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive))


def main():
    torch.manual_seed(CONFIG["seed"])
    settings = CONFIG["training"]
    development = cohorts(CONFIG["development"], seed=100)
    n_val = int(settings["val_share"] * len(development))
    train, val = random_split(development, [len(development) - n_val, n_val])
    external = cohorts(CONFIG["external"], seed=200)
    net, criterion = network(), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings["epochs"])
    loader = DataLoader(train, settings["batch"], shuffle=True, drop_last=True)
    for epoch in range(settings["epochs"]):
        net.train()
        losses = []
        for image, label in loader:
            optimizer.zero_grad()
            loss = criterion(net(image), label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, validation AUC {auc(net, val):.3f}")
    print(f"external hospital: AUC {auc(net, external):.3f}")


if __name__ == "__main__":
    main()
