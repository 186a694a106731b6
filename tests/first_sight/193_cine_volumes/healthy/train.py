"""Ventricular volumes from short-axis cine MRI: end-diastolic and end-systolic stacks in, EDV and ESV out, ejection fraction from both."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

RV, MYO, LV = 1, 2, 3
SPACING = (12.0, 3.4, 3.4)
SLICES, SIZE = 5, 40


def short_axis(rng, anatomy, phase):
    """Image stack and label stack of one patient at one phase of the heart cycle."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    images, labels = [], []
    for z in range(SLICES):
        taper = 1 - 0.09 * z
        blood = anatomy["lv"] * taper * (anatomy["squeeze"] if phase == "es" else 1.0)
        outer = np.sqrt(blood**2 + anatomy["mass"] * taper)
        right = anatomy["rv"] * taper * (anatomy["rv_squeeze"] if phase == "es" else 1.0)
        distance = np.hypot(y - anatomy["y"], x - anatomy["x"])
        label = np.zeros((SIZE, SIZE), np.uint8)
        label[np.hypot(y - anatomy["y"], (x - anatomy["x"] + 0.8 * anatomy["lv"]) / 1.2) < right] = RV
        label[distance < outer] = MYO
        label[distance < blood] = LV
        image = np.array([0.25, 0.85, 0.4, 0.9])[label] * anatomy["gain"] + 0.06 * np.cos(x / 4 + z) * np.cos(y / 5)
        images.append(image + rng.normal(0, 0.06, image.shape))
        labels.append(label)
    return np.stack(images).astype(np.float32), np.stack(labels)


def ejection_fraction(edv, esv):
    return 100 * (edv - esv) / edv


def preprocess(count, seed):
    """Records with the images, the volumes in ml and the ejection fraction that stands in the clinical report."""
    rng = np.random.default_rng(seed)
    voxel = np.prod(SPACING) / 1000.0
    records = []
    for _ in range(count):
        anatomy = {"lv": rng.uniform(6, 10), "squeeze": rng.uniform(0.55, 0.9), "mass": rng.uniform(35, 80), "rv": rng.uniform(7, 11),
                   "rv_squeeze": rng.uniform(0.65, 0.9), "y": rng.uniform(18, 22), "x": rng.uniform(21, 24), "gain": rng.uniform(0.8, 1.2)}
        ed_image, ed_label = short_axis(rng, anatomy, "ed")
        es_image, es_label = short_axis(rng, anatomy, "es")
        record = {"image": np.concatenate([ed_image, es_image]), "report": 100 * (1 - anatomy["squeeze"] ** 2)}
        record["edv"] = float((ed_label == LV).sum() * voxel)
        record["esv"] = float((es_label == LV).sum() * voxel)
        records.append(record)
    return records


class CineDataset(Dataset):
    def __init__(self, records, scale=None):
        self.records = records
        volumes = np.array([[r["edv"], r["esv"]] for r in records])
        self.scale = scale if scale is not None else (volumes.mean(0), volumes.std(0))
        self.volumes = volumes

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        image = torch.from_numpy(self.records[index]["image"])
        image = (image - image.mean()) / image.std()
        mean, std = self.scale
        return image, torch.tensor((self.volumes[index] - mean) / std, dtype=torch.float32), index


class VolumeNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        layers, channels = [], 2 * SLICES
        for out in (width, 2 * width, 2 * width):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
            channels = out
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (SIZE // 8) ** 2, 48), nn.ReLU(), nn.Linear(48, 2))

    def forward(self, x):
        return self.body(x)


def train_one_epoch(model, loader, optimizer):
    model.train()
    losses = []
    for image, volumes, _ in loader:
        loss = nn.functional.smooth_l1_loss(model(image), volumes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.mean(losses)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    dataset = loader.dataset
    mean, std = dataset.scale
    predicted = np.concatenate([model(image).numpy() for image, _, _ in loader]) * std + mean
    error = np.abs(predicted - dataset.volumes).mean(0)
    fraction = ejection_fraction(predicted[:, 0], predicted[:, 1])
    report = np.array([r["report"] for r in dataset.records])
    return {"EDV MAE": error[0], "ESV MAE": error[1], "EF against report MAE": np.abs(fraction - report).mean()}


if __name__ == "__main__":
    torch.manual_seed(1)
    train_set = CineDataset(preprocess(240, 1))
    val_set = CineDataset(preprocess(80, 2), train_set.scale)
    print("training volumes: EDV {:.1f} ml, ESV {:.1f} ml".format(*train_set.scale[0]))
    train_loader, val_loader = DataLoader(train_set, 16, shuffle=True), DataLoader(val_set, 40)
    model = VolumeNet()
    epochs = 10
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        loss = train_one_epoch(model, train_loader, optimizer)
        scheduler.step()
        print(f"epoch {epoch:2d} loss {loss:.4f} | " + ", ".join(f"{k} {v:.2f}" for k, v in evaluate(model, val_loader).items()))
