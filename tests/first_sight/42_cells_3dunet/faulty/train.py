"""python train.py --config config.yaml"""
import argparse
import logging

import torch
import torch.nn as nn
import yaml
from torch.utils.data import DataLoader

from unet3d.datasets import CellVolumes
from unet3d.engine import UNet3D, UNet3DTrainer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default="config.yaml")
    with open(parser.parse_args().config) as f:
        config = yaml.safe_load(f)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(config["seed"])

    data, trainer = config["data"], config["trainer"]
    loaders = {
        "train": DataLoader(CellVolumes(data["train_volumes"], data["patch"], 10), trainer["batch_size"], shuffle=True),
        "val": DataLoader(CellVolumes(data["val_volumes"], data["patch"], 11), trainer["batch_size"]),
    }
    model = UNet3D(**config["model"])
    optimizer = torch.optim.Adam(model.parameters(), lr=config["optimizer"]["learning_rate"], weight_decay=config["optimizer"]["weight_decay"])
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **config["lr_scheduler"])
    criterion = getattr(nn, config["loss"]["name"])()
    UNet3DTrainer(model, optimizer, scheduler, criterion, loaders, trainer["checkpoint_dir"], trainer["max_epochs"]).fit()


if __name__ == "__main__":
    main()
