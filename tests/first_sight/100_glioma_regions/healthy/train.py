"""Glioma sub-regions on multimodal MRI, configured by a dictionary, with the BraTS evaluation at the end."""
import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import Compose, EnsureTyped, MapTransform, NormalizeIntensityd, RandFlipd, RandGaussianNoised
from monai.utils import set_determinism
from scipy.ndimage import gaussian_filter

MODALITIES = ("flair", "t1", "t1ce", "t2")
SHAPE = (24, 24, 24)

config = {
    "training": {"epochs": 10, "batch_size": 4, "seed": 20},
    "optimizer": {"lr": 4e-3},
    "model": {"spatial_dims": 3, "in_channels": 4, "out_channels": 3, "channels": (12, 24, 48), "strides": (2, 2), "num_res_units": 1, "norm": "INSTANCE"},
    "loss": {"include_background": True, "sigmoid": True, "batch": True},
    "dataset": {"labels": (2, 1, 4), "setup_label_hierarchy": True},
}


def make_subject(rng):
    """Four sequences and a segmentation in the numbering of the challenge (1 necrosis, 2 oedema, 4 enhancing tumour)."""
    grid = np.indices(SHAPE).astype(np.float32)
    brain = (((grid - 11.5) / 11.0) ** 2).sum(0) < 1
    centre = rng.uniform(7, 17, 3)[:, None, None, None]
    stretch = rng.uniform(0.8, 1.25, 3)[:, None, None, None]
    distance = np.sqrt((((grid - centre) * stretch) ** 2).sum(0))
    distance = distance + 0.8 * gaussian_filter(rng.normal(0, 1, SHAPE), 1.5) / 0.1
    core = rng.uniform(1.8, 3.0)
    rim = core + rng.uniform(1.3, 2.2)
    outer = rim + rng.uniform(1.5, 3.0)
    segmentation = np.zeros(SHAPE, np.int64)
    segmentation[(distance < outer) & brain] = 2
    segmentation[(distance < rim) & brain] = 4
    segmentation[(distance < core) & brain] = 1
    contrast = {"flair": {1: 0.2, 2: 0.9, 4: 0.6}, "t1": {1: -0.4, 2: -0.2, 4: -0.1}, "t1ce": {1: -0.4, 2: -0.1, 4: 1.0}, "t2": {1: 0.9, 2: 0.6, 4: 0.4}}
    image = []
    for name in MODALITIES:
        channel = brain * (1 + 0.15 * gaussian_filter(rng.normal(0, 1, SHAPE), 2) / 0.05)
        for label, value in contrast[name].items():
            channel = channel + value * (segmentation == label)
        image.append((gaussian_filter(channel, 0.5) + rng.normal(0, 0.2, SHAPE)) * rng.uniform(80, 300))
    return {"image": np.stack(image).astype(np.float32), "label": segmentation[None]}


class LabelMapToOneHotd(MapTransform):
    """One channel a label; in a hierarchy each channel also holds all the labels that come after its own."""

    def __init__(self, keys, labels, hierarchy):
        super().__init__(keys)
        self.groups = [labels[k:] if hierarchy else labels[k:k + 1] for k in range(len(labels))]

    def __call__(self, data):
        data = dict(data)
        for key in self.keys:
            data[key] = torch.cat([torch.isin(data[key], torch.tensor(group)) for group in self.groups]).float()
        return data


def hierarchy_to_label_map(probability, labels, threshold=0.5):
    label_map = torch.zeros(probability.shape[1:], dtype=torch.long)
    inside = torch.ones_like(label_map, dtype=torch.bool)
    for channel, label in zip(probability, labels):
        inside = inside & (channel > threshold)
        label_map[inside] = label
    return label_map


REGIONS = {
    "whole tumour": lambda data: data > 0,
    "tumour core": lambda data: (data == 1) | (data == 4),
    "enhancing tumour": lambda data: data == 4,
}


def dice(a, b):
    return (2 * (a & b).sum() / (a.sum() + b.sum()).clamp(min=1)).item()


def build_loaders(train_subjects, val_subjects):
    dataset = config["dataset"]
    common = [
        EnsureTyped(keys=("image", "label")),
        LabelMapToOneHotd(("label",), dataset["labels"], dataset["setup_label_hierarchy"]),
        NormalizeIntensityd(keys="image", channel_wise=True),
    ]
    augment = [RandFlipd(keys=("image", "label"), prob=0.5, spatial_axis=k) for k in range(3)] + [RandGaussianNoised(keys="image", std=0.1, prob=0.3)]
    train_set = CacheDataset(train_subjects, Compose(common + augment), progress=False)
    val_set = CacheDataset(val_subjects, Compose(common), progress=False)
    return DataLoader(train_set, config["training"]["batch_size"], shuffle=True), DataLoader(val_set, config["training"]["batch_size"])


def epoch_training(model, loader, loss_function, optimizer):
    model.train()
    losses = []
    for batch in loader:
        loss = loss_function(model(batch["image"]), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.mean(losses)


@torch.no_grad()
def epoch_validation(model, loader, loss_function):
    model.eval()
    losses, probabilities = [], []
    for batch in loader:
        output = model(batch["image"])
        losses.append(loss_function(output, batch["label"]).item())
        probabilities.append(torch.sigmoid(output))
    return np.mean(losses), torch.cat(probabilities)


def evaluate(probabilities, subjects):
    rows = []
    for probability, subject in zip(probabilities, subjects):
        predicted = hierarchy_to_label_map(probability, config["dataset"]["labels"])
        truth = torch.tensor(subject["label"][0])
        rows.append([dice(region(predicted), region(truth)) for region in REGIONS.values()])
    return np.mean(rows, axis=0)


def main():
    set_determinism(config["training"]["seed"])
    rng = np.random.default_rng(config["training"]["seed"])
    subjects = [make_subject(rng) for _ in range(52)]
    train_subjects, val_subjects = subjects[:40], subjects[40:]
    train_loader, val_loader = build_loaders(train_subjects, val_subjects)
    model = UNet(**config["model"])
    loss_function = DiceLoss(**config["loss"])
    optimizer = torch.optim.Adam(model.parameters(), **config["optimizer"])
    for epoch in range(1, config["training"]["epochs"] + 1):
        train_loss = epoch_training(model, train_loader, loss_function, optimizer)
        val_loss, probabilities = epoch_validation(model, val_loader, loss_function)
        print(f"epoch {epoch} loss {train_loss:.4f} val_loss {val_loss:.4f}")
    torch.save(model.state_dict(), "glioma.pth")
    for name, value in zip(REGIONS, evaluate(probabilities, val_subjects)):
        print(f"{name:17s} Dice {value:.4f}")


if __name__ == "__main__":
    main()
