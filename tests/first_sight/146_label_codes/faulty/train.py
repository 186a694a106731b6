"""Dementia or not from a coronal slice: subjects listed in tables, images in single files, test set in a table of its own."""
import csv
import os
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, Subset


def coronal_slice(rng, patient, size=48):
    """Head with ventricles and hippocampi; dementia widens the former and shrinks the latter."""
    yy, xx = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    xx = xx + rng.normal(0, 0.03)
    image = 0.6 * (np.hypot(xx / 0.85, yy / 0.95) < 0.95) + 0.08 * np.sin(6 * xx + rng.uniform(0, 6)) * np.cos(6 * yy + rng.uniform(0, 6))
    wide = rng.normal(0.13 if patient else 0.09, 0.018)
    image[(np.hypot((np.abs(xx) - 0.15) / wide, (yy + 0.1) / (2.2 * wide)) < 1)] = 0.15
    body = rng.normal(0.085 if patient else 0.115, 0.014)
    image[np.hypot((np.abs(xx) - 0.45) / (1.4 * body), (yy - 0.4) / body) < 1] = 0.9
    return (image + rng.normal(0, 0.08, image.shape)).astype(np.float32)


def write_cohort(folder, name, count, seed):
    """Images and the table with columns participant_id, session_id, diagnosis."""
    rng = np.random.default_rng(seed)
    path = os.path.join(folder, f"{name}.tsv")
    with open(path, "w", newline="") as handle:
        table = csv.writer(handle, delimiter="\t")
        table.writerow(["participant_id", "session_id", "diagnosis"])
        for i in range(count):
            patient = rng.random() < 0.5
            subject = f"sub-{name.upper()}{i:04d}"
            np.save(os.path.join(folder, f"{subject}_ses-M00.npy"), coronal_slice(rng, patient))
            table.writerow([subject, "ses-M00", "AD" if patient else "CN"])
    return path


class SliceDataset(Dataset):
    def __init__(self, folder, table, augment=False):
        with open(table, newline="") as handle:
            self.rows = list(csv.DictReader(handle, delimiter="\t"))
        self.folder, self.augment = folder, augment
        diagnoses = [row["diagnosis"] for row in self.rows]
        self.classes = list(dict.fromkeys(diagnoses))
        self.code = {name: i for i, name in enumerate(self.classes)}
        self.labels = torch.tensor([self.code[d] for d in diagnoses])

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        image = np.load(os.path.join(self.folder, f"{row['participant_id']}_{row['session_id']}.npy"))
        image = torch.from_numpy((image - image.mean()) / image.std())[None]
        if self.augment and torch.rand(1) < 0.5:
            image = image.flip(-1)
        return image, self.labels[index]


class SliceNet(nn.Module):
    def __init__(self, width=12, classes=2):
        super().__init__()
        layers, channels = [], 1
        for factor in (1, 2, 4):
            layers += [nn.Conv2d(channels, width * factor, 3, padding=1), nn.BatchNorm2d(width * factor), nn.ReLU(), nn.MaxPool2d(2)]
            channels = width * factor
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(channels * 36, classes))

    def forward(self, x):
        return self.classifier(self.features(x))


@torch.no_grad()
def assess(model, loader):
    """Accuracy and balanced accuracy."""
    model.eval()
    guesses, labels = [], []
    for image, label in loader:
        guesses.append(model(image).argmax(1))
        labels.append(label)
    guess, label = torch.cat(guesses), torch.cat(labels)
    recalls = [(guess[label == c] == c).float().mean().item() for c in label.unique()]
    return (guess == label).float().mean().item(), float(np.mean(recalls))


def train(model, train_loader, val_loader, checkpoint, epochs=7, lr=1e-3):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=1e-4)
    best = -1.0
    for epoch in range(epochs):
        model.train()
        losses = []
        for image, label in train_loader:
            loss = F.cross_entropy(model(image), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        accuracy, balanced = assess(model, val_loader)
        if balanced > best:
            best = balanced
            torch.save(model.state_dict(), checkpoint)
        print(f"epoch {epoch + 1} train loss {np.mean(losses):.4f} val accuracy {accuracy:.4f} val balanced accuracy {balanced:.4f}")


def test(folder, table, checkpoint):
    model = SliceNet()
    model.load_state_dict(torch.load(checkpoint))
    dataset = SliceDataset(folder, table)
    accuracy, balanced = assess(model, DataLoader(dataset, 50))
    print(f"test set of {len(dataset)} subjects: accuracy {accuracy:.4f} balanced accuracy {balanced:.4f}")


def main():
    torch.manual_seed(12)
    with tempfile.TemporaryDirectory() as folder:
        train_table = write_cohort(folder, "train", 560, seed=2)
        test_table = write_cohort(folder, "test", 160, seed=5)
        order = np.random.default_rng(0).permutation(560).tolist()
        train_set = Subset(SliceDataset(folder, train_table, augment=True), order[:440])
        val_set = Subset(SliceDataset(folder, train_table), order[440:])
        checkpoint = os.path.join(folder, "best.pt")
        train(SliceNet(), DataLoader(train_set, 20, shuffle=True), DataLoader(val_set, 60), checkpoint)
        test(folder, test_table, checkpoint)


if __name__ == "__main__":
    main()
