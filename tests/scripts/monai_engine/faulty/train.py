"""MONAI SupervisedTrainer / SupervisedEvaluator, spleen-like blobs."""
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, StatsHandler, ValidationHandler, from_engine
from monai.inferers import SimpleInferer
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet
from monai.utils import set_determinism


def items(n, seed):
    g = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        y, x = torch.randint(4, 20, (2,), generator=g).tolist()
        label = torch.zeros(1, 32, 32)
        label[:, y:y + 8, x:x + 8] = 1
        image = torch.randn(1, 32, 32, generator=g) * 0.5 + label
        out.append({"image": image, "label": label})
    return out


def threshold(batch):
    batch["pred"] = (batch["pred"] > 0.5).float()
    return batch


def main():
    set_determinism(0)
    net = torch.nn.Sequential(
        BasicUNet(spatial_dims=2, in_channels=1, out_channels=1, features=(8, 8, 16, 16, 16, 8)),
        torch.nn.Sigmoid(),
    )
    loss = DiceLoss(sigmoid=True)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items(8, 1)), batch_size=4),
        network=net,
        inferer=SimpleInferer(),
        postprocessing=threshold,
        key_val_metric={"val_dice": MeanDice(include_background=True, output_transform=from_engine(["pred", "label"]))},
        val_handlers=[StatsHandler(iteration_log=False)],
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=3,
        train_data_loader=DataLoader(Dataset(items(48, 0)), batch_size=4, shuffle=True),
        network=net,
        optimizer=optimizer,
        loss_function=loss,
        inferer=SimpleInferer(),
        train_handlers=[ValidationHandler(interval=1, epoch_level=True, validator=evaluator)],
    )
    trainer.run()
    print("val_dice", evaluator.state.metrics["val_dice"])


if __name__ == "__main__":
    main()
