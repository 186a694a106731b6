"""Femoral and tibial cartilage on sagittal knee MRI from several scanners."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset

CLASSES = ("background", "femoral cartilage", "tibial cartilage")
SIZE = 56


def acquire(rng):
    """A sagittal slice in the arbitrary units of its scanner, with the cartilage labels."""
    rows, cols = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    centre = np.array([18, 28]) + rng.normal(0, 2, 2)
    radius = rng.uniform(11, 14)
    distance = np.hypot(rows - centre[0], (cols - centre[1]) * rng.uniform(0.85, 1.0))
    plateau = centre[0] + radius + rng.uniform(4.5, 6.5) + 0.06 * (cols - 28)
    image = 0.25 + 0.1 * gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 3) / 0.1
    image = np.clip(image, 0.05, 0.5)
    image[distance < radius] = 0.72
    image[(rows > plateau) & (abs(cols - 28) < 20)] = 0.68
    labels = np.zeros((SIZE, SIZE), np.int64)
    labels[(distance >= radius) & (distance < radius + rng.uniform(2, 3)) & (rows > centre[0])] = 1
    labels[(rows <= plateau) & (rows > plateau - rng.uniform(1.8, 2.6)) & (abs(cols - 28) < 17)] = 2
    image[labels == 1] = 0.95
    image[labels == 2] = 0.9
    image[(rows - plateau > -6) & (abs(cols - 46) < 4) & (labels == 0)] = 1.1
    image = gaussian_filter(image, 0.6) + rng.normal(0, 0.05, image.shape)
    gain, offset = np.exp(rng.uniform(np.log(60), np.log(3000))), rng.uniform(0, 0.1)
    return ((image + offset) * gain).astype(np.float32), labels


class Subject(dict):
    """A named set of images; 'image' holds intensities, 'labels' a label map."""


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, subject):
        for transform in self.transforms:
            subject = transform(subject)
        return subject


class RescaleIntensity:
    """Maps the intensities between two percentiles to out_min_max.

    in_min_max is the input range; where it is not given, the extrema of the image are used.
    """

    def __init__(self, out_min_max=(0, 1), percentiles=(0, 100), in_min_max=None):
        self.out_min, self.out_max = out_min_max
        self.percentiles = percentiles
        self.in_min_max = in_min_max

    def rescale(self, array):
        low, high = np.percentile(array, self.percentiles)
        array = np.clip(array, low, high)
        if self.in_min_max is None:
            in_min, in_max = float(array.min()), float(array.max())
        else:
            in_min, in_max = self.in_min_max
        array = (array - in_min) / (in_max - in_min)
        return array * (self.out_max - self.out_min) + self.out_min

    def __call__(self, subject):
        return Subject(subject, image=self.rescale(subject["image"]).astype(np.float32))


class RandomNoise:
    def __init__(self, std=0.03):
        self.std = std

    def __call__(self, subject):
        noise = np.random.normal(0, self.std, subject["image"].shape).astype(np.float32)
        return Subject(subject, image=subject["image"] + noise)


class RandomFlip:
    def __call__(self, subject):
        if np.random.random() < 0.5:
            subject = Subject(image=subject["image"][:, ::-1], labels=subject["labels"][:, ::-1])
        return subject


class SubjectsDataset(Dataset):
    def __init__(self, count, seed, transform):
        rng = np.random.default_rng(seed)
        self.subjects = [Subject(zip(("image", "labels"), acquire(rng))) for _ in range(count)]
        self.transform = transform

    def __len__(self):
        return len(self.subjects)

    def __getitem__(self, index):
        subject = self.transform(self.subjects[index])
        return torch.tensor(subject["image"].copy())[None], torch.tensor(subject["labels"].copy())


def conv(inside, outside):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.PReLU(),
                         nn.Conv2d(outside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.PReLU())


class UNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.first, self.second, self.third = conv(1, width), conv(width, 2 * width), conv(2 * width, 4 * width)
        self.fourth, self.fifth = conv(6 * width, 2 * width), conv(3 * width, width)
        self.out = nn.Conv2d(width, len(CLASSES), 1)

    def forward(self, x):
        a = self.first(x)
        b = self.second(F.max_pool2d(a, 2))
        c = self.third(F.max_pool2d(b, 2))
        x = self.fourth(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        return self.out(self.fifth(torch.cat([F.interpolate(x, scale_factor=2), a], 1)))


def loss_function(logits, labels):
    probability = logits.softmax(1)
    onehot = F.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float()
    overlap = 2 * (probability * onehot).sum((0, 2, 3)) / (probability + onehot).sum((0, 2, 3))
    return F.cross_entropy(logits, labels) + 1 - overlap[1:].mean()


@torch.no_grad()
def validate(model, loader):
    model.eval()
    scores = []
    for image, labels in loader:
        predicted = model(image).argmax(1)
        for k in range(1, len(CLASSES)):
            overlap = 2 * ((predicted == k) & (labels == k)).sum((1, 2))
            scores.append(overlap / ((predicted == k).sum((1, 2)) + (labels == k).sum((1, 2))))
    return [torch.cat(scores[k::len(CLASSES) - 1]).mean().item() for k in range(len(CLASSES) - 1)]


def main():
    np.random.seed(2)
    torch.manual_seed(2)
    rescale = RescaleIntensity(out_min_max=(-1, 1), percentiles=(0.5, 99.5))
    train_set = SubjectsDataset(160, 20, Compose([rescale, RandomFlip(), RandomNoise()]))
    val_set = SubjectsDataset(40, 21, Compose([rescale]))
    train_loader = DataLoader(train_set, batch_size=10, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=20)
    model = UNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(1, 10):
        model.train()
        losses = []
        for image, labels in train_loader:
            loss = loss_function(model(image), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        femoral, tibial = validate(model, val_loader)
        print(f"epoch {epoch} training loss {np.mean(losses):.4f} validation Dice femoral {femoral:.4f} tibial {tibial:.4f}")
    torch.save(model.state_dict(), "cartilage.pt")


if __name__ == "__main__":
    main()
