"""Spleen segmentation on abdominal CT slices, trained with MONAI's workflow engines."""
import argparse

import numpy as np
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset, decollate_batch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, ValidationHandler, from_engine
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    AsDiscreted,
    Compose,
    EnsureTyped,
    RandFlipd,
    RandGaussianNoised,
    RandRotate90d,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandZoomd,
    ScaleIntensityRanged,
)
from monai.utils import set_determinism

SIZE = 64


def ellipse(rows, cols, centre, radii, angle):
    y, x = rows - centre[0], cols - centre[1]
    u = x * np.cos(angle) + y * np.sin(angle)
    v = -x * np.sin(angle) + y * np.cos(angle)
    return (u / radii[1]) ** 2 + (v / radii[0]) ** 2 < 1


def make_slice(rng):
    """One axial slice in Hounsfield units with its spleen mask."""
    rows, cols = np.mgrid[:SIZE, :SIZE].astype(float)
    shift = rng.normal(0, 1.5, 2)
    body = ellipse(rows, cols, (32 + shift[0], 32 + shift[1]), (23 + rng.normal(), 28 + rng.normal()), 0)
    liver = ellipse(rows, cols, (28 + shift[0], 18 + shift[1]), (12 + rng.normal(), 10 + rng.normal()), rng.normal(0.2, 0.2))
    spleen = ellipse(rows, cols, (35 + shift[0] + rng.normal(0, 1.5), 49 + shift[1] + rng.normal(0, 1)),
                     (rng.uniform(5, 8), rng.uniform(3, 5)), rng.normal(-0.4, 0.3))
    spine = ellipse(rows, cols, (46 + shift[0], 32 + shift[1]), (4, 4), 0)
    stomach = ellipse(rows, cols, (24 + shift[0], 40 + shift[1]), (rng.uniform(4, 7), rng.uniform(5, 8)), rng.normal(0, 0.4))
    image = np.full((SIZE, SIZE), -1000.0)
    image[body] = -60
    image[liver & body] = 95 + rng.normal(0, 6)
    image[stomach & body] = rng.uniform(10, 40)
    image[spleen & body] = 110 + rng.normal(0, 6)
    image[spine] = 420
    image += rng.normal(0, 14, image.shape)
    return {"image": image[None].astype(np.float32), "label": (spleen & body)[None].astype(np.float32)}


def get_pre_transforms():
    keys = ("image", "label")
    return Compose([
        EnsureTyped(keys=keys),
        ScaleIntensityRanged(keys="image", a_min=-175, a_max=250, b_min=0.0, b_max=1.0, clip=True),
        RandFlipd(keys=keys, spatial_axis=0, prob=0.3),
        RandFlipd(keys=keys, spatial_axis=1, prob=0.3),
        RandRotate90d(keys=keys, prob=0.3),
        RandZoomd(keys=keys, min_zoom=0.6, max_zoom=1.2, mode=("bilinear", "nearest"), prob=0.5),
        RandScaleIntensityd(keys="image", factors=0.4, prob=0.5),
        RandShiftIntensityd(keys="image", offsets=0.25, prob=0.5),
        RandGaussianNoised(keys="image", std=0.2, prob=0.5),
    ])


def get_post_transforms():
    return Compose([
        AsDiscreted(keys="pred", argmax=True, to_onehot=2),
        AsDiscreted(keys="label", to_onehot=2),
    ])


def get_loaders(args):
    rng = np.random.default_rng(args.seed)
    train_files = [make_slice(rng) for _ in range(args.train)]
    val_files = [make_slice(rng) for _ in range(args.val)]
    pre_transforms = get_pre_transforms()
    train_ds = Dataset(train_files, pre_transforms)
    val_ds = Dataset(val_files, pre_transforms)
    train_loader = DataLoader(train_ds, batch_size=args.batch_size, shuffle=True, num_workers=0)
    val_loader = DataLoader(val_ds, batch_size=args.batch_size, num_workers=0)
    return train_loader, val_loader


def create_trainer(args):
    device = torch.device("cpu")
    network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(12, 24, 48, 96), strides=(2, 2, 2), num_res_units=1)
    train_loader, val_loader = get_loaders(args)
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=val_loader,
        network=network,
        inferer=SimpleInferer(),
        postprocessing=get_post_transforms(),
        key_val_metric={"val_mean_dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))},
    )
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=args.epochs,
        train_data_loader=train_loader,
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=args.learning_rate),
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        inferer=SimpleInferer(),
        postprocessing=get_post_transforms(),
        key_train_metric={"train_dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))},
        train_handlers=[
            ValidationHandler(validator=evaluator, interval=args.val_freq, epoch_level=True),
        ],
    )

    @trainer.on(Events.EPOCH_COMPLETED)
    def report(engine):
        print(f"epoch {engine.state.epoch} training Dice {engine.state.metrics['train_dice']:.4f} "
              f"validation Dice {evaluator.state.metrics['val_mean_dice']:.4f}", flush=True)

    return trainer, evaluator


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=36)
    parser.add_argument("--train", type=int, default=80)
    parser.add_argument("--val", type=int, default=24)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--val_freq", type=int, default=1)
    parser.add_argument("--learning_rate", type=float, default=4e-3)
    args = parser.parse_args()
    set_determinism(seed=args.seed)
    trainer, evaluator = create_trainer(args)
    trainer.run()
    state = evaluator.state
    print(f"best validation Dice {state.best_metric:.4f} in epoch {state.best_metric_epoch}, "
          f"last {state.metrics['val_mean_dice']:.4f}, last training Dice {trainer.state.metrics['train_dice']:.4f}")


if __name__ == "__main__":
    main()
