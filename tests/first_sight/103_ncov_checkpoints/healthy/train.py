"""COVID-19, pneumonia or neither from a stack of chest CT slices: shared 2-D network, maximum over the slices."""
import argparse
import os
import re
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

CLASSES = ("non-pneumonia", "CAP", "COVID-19")
SIZE, SLICES = 40, 5


class NCovDataset(Dataset):
    """Synthetic stacks; CAP is one consolidated lobe, COVID-19 is patchy ground glass along the pleura."""

    def __init__(self, stage):
        seed, cases = {"train": (3, 90), "val": (4, 75), "test": (5, 240)}[stage]
        rng = np.random.default_rng(seed)
        self.labels = rng.choice(3, cases, p=(0.45, 0.3, 0.25))
        self.images = np.stack([self.stack(label, rng) for label in self.labels]).astype(np.float32)
        self.case_ids = [f"{stage}_{i:04d}" for i in range(cases)]

    @staticmethod
    def stack(label, rng):
        yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
        side, spread = rng.choice((-1, 1)), rng.uniform(0.8, 1.1)
        volume = np.zeros((SLICES, SIZE, SIZE))
        centre = rng.uniform(-5, 5), rng.uniform(1.0, 2.6)
        for z in range(SLICES):
            body = (yy / 15) ** 2 + (xx / 18.5) ** 2 < 1
            lungs = [((yy / (10.5 * spread)) ** 2 + ((xx - s * 8.5) / 6) ** 2) for s in (-1, 1)]
            image = np.where(body, 0.75, 0.0)
            for lung in lungs:
                image[lung < 1] = 0.15
            vessels = gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 1)
            inside = np.minimum(*lungs) < 1
            image[inside] += 0.12 * np.clip(vessels[inside] / vessels.std() - 0.8, 0, 2)
            if label == 1:
                lobe = ((yy - centre[0]) / 4) ** 2 + ((xx - side * 8.5 - centre[1]) / 3.4) ** 2 + 0.3 * (z - SLICES // 2) ** 2
                image += inside * rng.uniform(0.2, 0.35) * np.clip(1.4 - lobe, 0, 1)
            if label == 2:
                for lung in lungs:
                    rim = (lung > 0.5) & (lung < 1)
                    patch = gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 2)
                    image += rim * (patch > 0.4 * patch.std()) * rng.uniform(0.08, 0.2)
            volume[z] = gaussian_filter(image, 0.5) + rng.normal(0, 0.07, image.shape)
        return volume

    def make_weights_for_balanced_classes(self):
        return (1 / np.bincount(self.labels, minlength=3))[self.labels]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index]), self.case_ids[index]


class COVNet(nn.Module):
    def __init__(self, n_classes=3, width=12):
        super().__init__()
        self.n_classes = n_classes
        layers, inside = [], 1
        for outside in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(), nn.MaxPool2d(2)]
            inside = outside
        self.backbone = nn.Sequential(*layers)
        self.classifier = nn.Linear(inside * 4, n_classes)

    def forward(self, x):
        b, z = x.shape[:2]
        features = F.adaptive_max_pool2d(self.backbone(x.reshape(b * z, 1, SIZE, SIZE)), 2)
        return self.classifier(features.reshape(b, z, -1).amax(1))


def measures(probabilities, truth):
    predicted = probabilities.argmax(1)
    result = {"accuracy": round(float((predicted == truth).mean()), 4)}
    for k, name in enumerate(CLASSES):
        result[name] = round(float((predicted[truth == k] == k).mean()), 4)
    return result


def train_model(model, loader, optimizer):
    model.train()
    losses, probabilities, truth = [], [], []
    for image, label, _ in loader:
        optimizer.zero_grad()
        prediction = model(image)
        loss = F.cross_entropy(prediction, label)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        probabilities.append(prediction.detach().softmax(1).numpy())
        truth.append(label.numpy())
    return np.mean(losses).round(4), measures(np.concatenate(probabilities), np.concatenate(truth))


@torch.no_grad()
def evaluate_model(model, loader):
    model.eval()
    losses, probabilities, truth = [], [], []
    for image, label, _ in loader:
        prediction = model(image)
        losses.append(F.cross_entropy(prediction, label).item())
        probabilities.append(prediction.softmax(1).numpy())
        truth.append(label.numpy())
    return np.mean(losses).round(4), measures(np.concatenate(probabilities), np.concatenate(truth))


def best_checkpoint(folder):
    """The checkpoint of highest validation accuracy (the first of them, if equal)."""
    pattern = re.compile(r"val_acc_([\d.]+)_train_acc_([\d.]+)_epoch_(\d+)\.pth")
    found = [(float(m[1]), -int(m[3]), name) for name in os.listdir(folder) if (m := pattern.fullmatch(name))]
    accuracy, _, name = max(found)
    return accuracy, name


def main(args):
    torch.manual_seed(args.seed)
    train_dataset = NCovDataset("train")
    weights = torch.as_tensor(train_dataset.make_weights_for_balanced_classes())
    train_loader = DataLoader(train_dataset, args.batch_size, sampler=WeightedRandomSampler(weights, len(weights)), drop_last=True)
    val_loader = DataLoader(NCovDataset("val"), 25)
    model = COVNet(len(CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    model_dir = tempfile.mkdtemp(prefix="models_")
    for epoch in range(1, args.epochs + 1):
        train_loss, train_metric = train_model(model, train_loader, optimizer)
        val_loss, val_metric = evaluate_model(model, val_loader)
        train_acc, val_acc = train_metric["accuracy"], val_metric["accuracy"]
        file_name = "val_acc_{}_train_acc_{}_epoch_{}.pth".format(val_acc, train_acc, epoch)
        torch.save(model.state_dict(), os.path.join(model_dir, file_name))
        if epoch % args.log_every == 0:
            print(f"epoch {epoch} train loss {train_loss:.4f} val loss {val_loss:.4f}, saved {file_name}", flush=True)
    accuracy, name = best_checkpoint(model_dir)
    model.load_state_dict(torch.load(os.path.join(model_dir, name)))
    _, test_metric = evaluate_model(model, DataLoader(NCovDataset("test"), 40))
    print(f"best checkpoint {name}: validation accuracy {accuracy:.4f}")
    print("test", test_metric)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch_size", type=int, default=6)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--log_every", type=int, default=3)
    main(parser.parse_args())
