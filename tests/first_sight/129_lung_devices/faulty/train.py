"""Normal, crackle or wheeze in lung sounds: recordings of four stethoscopes, each with a frequency response of its own."""
import os
import random
import tempfile

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

DEVICES = ("Meditron", "LittC2SE", "Litt3200", "AKGC417L")
CLASSES = ("normal", "crackle", "wheeze")
BINS, FRAMES = 32, 48


def write_recordings(folder, first_patient, patients, rng):
    """Log spectrograms as files `patient_cycle_class_device.npy`; a patient is always heard with one device."""
    response_rng = np.random.default_rng(99)
    responses = []
    for _ in DEVICES:
        lines = 2.0 * np.isin(np.arange(BINS), response_rng.choice(np.arange(3, BINS - 3), 4, replace=False))
        responses.append(lines - 0.6 * np.linspace(0, response_rng.uniform(0, 2), BINS))
    for patient in range(first_patient, first_patient + patients):
        device = int(rng.integers(len(DEVICES)))
        loudness = rng.normal(0, 0.3)
        for cycle in range(rng.integers(8, 14)):
            label = str(rng.choice(CLASSES, p=(0.4, 0.3, 0.3)))
            breath = np.sin(np.pi * np.arange(FRAMES) / FRAMES) ** 2
            sound = 1.2 * breath - 0.04 * np.arange(BINS)[:, None] + loudness
            if label == "wheeze":
                low = rng.integers(4, BINS - 6)
                begin = rng.integers(6, 16)
                sound[low, begin : begin + rng.integers(18, 28)] += rng.uniform(0.9, 1.5)
            elif label == "crackle":
                for frame in rng.integers(5, FRAMES - 5, rng.integers(3, 7)):
                    sound[:, frame] += rng.uniform(0.35, 0.8)
            sound += responses[device][:, None] + rng.normal(0, 0.45, sound.shape)
            np.save(os.path.join(folder, f"{patient}_{cycle:02d}_{label}_{DEVICES[device]}.npy"), sound.astype(np.float32))


class LungSounds(Dataset):
    """Breathing cycles, with the mean spectrum of the device they were recorded with taken off."""

    def __init__(self, folder, profiles=None, augment=False):
        self.folder, self.augment = folder, augment
        filenames = sorted(name for name in os.listdir(folder) if name.endswith(".npy"))

        self.device_to_id = {device: i for i, device in enumerate(DEVICES)}
        self.labels, self.devices, self.spectra = [], [], []
        for name in filenames:
            _, _, label, device = name[: -len(".npy")].split("_")
            device_id = self.device_to_id[device]
            self.device_id_to_files = {i: [] for i in range(len(DEVICES))}
            self.device_id_to_files[device_id].append(name)
            self.labels.append(CLASSES.index(label))
            self.devices.append(device_id)
            self.spectra.append(np.load(os.path.join(folder, name)))

        self.profiles = self.device_profiles() if profiles is None else profiles
        corrected = np.stack([s - self.profiles[d][:, None] for s, d in zip(self.spectra, self.devices)])
        self.inputs = torch.from_numpy(corrected).unsqueeze(1)

    def device_profiles(self):
        """Mean spectrum of every device; the mean of all recordings for one that was not used."""
        overall = np.mean([s.mean(1) for s in self.spectra], axis=0)
        profiles = []
        for device_id in range(len(DEVICES)):
            files = self.device_id_to_files[device_id]
            spectra = [np.load(os.path.join(self.folder, name)).mean(1) for name in files]
            profiles.append(np.mean(spectra, axis=0) if spectra else overall)
        return profiles

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        x = self.inputs[index]
        if self.augment:
            x = torch.roll(x, random.randint(-4, 4), -1) + random.uniform(-0.2, 0.2)
        return x, self.labels[index]


def make_model():
    def stage(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*stage(1, 12), *stage(12, 24), *stage(24, 32), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 3))


@torch.no_grad()
def icbhi_score(model, loader):
    """Specificity (normal), sensitivity (crackle and wheeze, class has to be right) and their mean."""
    model.eval()
    predictions = torch.cat([model(x).argmax(1) for x, _ in loader])
    labels = torch.cat([y for _, y in loader])
    right = (predictions == labels).float()
    specificity, sensitivity = right[labels == 0].mean().item(), right[labels > 0].mean().item()
    return specificity, sensitivity, (specificity + sensitivity) / 2


def main():
    random.seed(4)
    torch.manual_seed(4)
    rng = np.random.default_rng(4)
    with tempfile.TemporaryDirectory() as root:
        folders = {split: os.path.join(root, split) for split in ("train", "test")}
        for split, first, patients in (("train", 101, 90), ("test", 301, 40)):
            os.makedirs(folders[split])
            write_recordings(folders[split], first, patients, rng)
        train_set = LungSounds(folders["train"], augment=True)
        test_set = LungSounds(folders["test"], profiles=train_set.profiles)
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=64)

    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 11)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(1, 12):
        model.train()
        total = 0.0
        for x, y in train_loader:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        scheduler.step()
        specificity, sensitivity, score = icbhi_score(model, test_loader)
        print(f"epoch {epoch:2d} loss {total / len(train_set):.4f} Sp {specificity:.4f} Se {sensitivity:.4f} score {score:.4f}")


if __name__ == "__main__":
    main()
