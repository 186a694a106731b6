"""Axon and myelin segmentation of nerve micrographs; settings in config.json."""
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

from evaluation import evaluate
from loader import BidsDataframe, SegmentationDataset, write_dataset


def block(inside, outside):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(),
                         nn.Conv2d(outside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU())


class Unet(nn.Module):
    def __init__(self, filters, depth, classes):
        super().__init__()
        widths = [filters * 2**i for i in range(depth)]
        self.down = nn.ModuleList(block(a, b) for a, b in zip([1] + widths, widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in zip(widths[-2::-1], widths[:0:-1]))
        self.merge = nn.ModuleList(block(2 * a, a) for a in widths[-2::-1])
        self.out = nn.Conv2d(filters, classes, 1)

    def forward(self, x):
        kept = []
        for level, layer in enumerate(self.down):
            x = layer(x if level == 0 else nn.functional.max_pool2d(x, 2))
            kept.append(x)
        for skip, up, merge in zip(kept[-2::-1], self.up, self.merge):
            x = merge(torch.cat([up(x), skip], 1))
        return torch.sigmoid(self.out(x))


class MultiClassDiceLoss(nn.Module):
    def forward(self, prediction, target):
        overlap = (prediction * target).sum((0, 2, 3))
        return 1 - (2 * overlap / (prediction.sum((0, 2, 3)) + target.sum((0, 2, 3)))).mean()


def run_training(model, train, val, params):
    loss_function = {"MultiClassDiceLoss": MultiClassDiceLoss}[params["loss"]]()
    optimizer = torch.optim.Adam(model.parameters(), lr=params["lr"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, params["epochs"])
    for epoch in range(1, params["epochs"] + 1):
        model.train()
        losses = []
        for image, target in DataLoader(train, params["batch_size"], shuffle=True):
            loss = loss_function(model(image), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        model.eval()
        with torch.no_grad():
            val_loss = np.mean([loss_function(model(image), target).item() for image, target in DataLoader(val, 4)])
        if epoch % 2 == 0:
            print(f"epoch {epoch} training loss {np.mean(losses):.4f} validation loss {val_loss:.4f}", flush=True)


@torch.no_grad()
def run_inference(model, rows, dataset, folder):
    model.eval()
    for row, (image, _) in zip(rows, dataset):
        np.save(folder / f"{row['subject']}_pred.npy", model(image[None])[0].numpy())


def main():
    context = json.loads((Path(__file__).parent / "config.json").read_text())
    loader_params, model_params, training = (context[k] for k in ("loader_parameters", "default_model", "training_parameters"))
    torch.manual_seed(training["seed"])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "dataset"
        write_dataset(root, loader_params)
        suffixes = loader_params["target_suffix"]
        train_rows, val_rows, test_rows = BidsDataframe(root, loader_params).split(loader_params["split"])
        model = Unet(model_params["filters"], model_params["depth"], len(suffixes))
        run_training(model, SegmentationDataset(train_rows, suffixes, True), SegmentationDataset(val_rows, suffixes, False), training)
        pred_masks = Path(folder) / "pred_masks"
        pred_masks.mkdir()
        run_inference(model, test_rows, SegmentationDataset(test_rows, suffixes, False), pred_masks)
        for suffix, values in evaluate(test_rows, pred_masks, suffixes, context["evaluation_parameters"]).items():
            print(f"test {suffix.strip('_')}: " + " ".join(f"{key} {value:.4f}" for key, value in values.items()))


if __name__ == "__main__":
    main()
