"""Parts of the airway wall from its surface points.

The queue of the cluster ends a job after some hours, so the training comes in sessions: train.py --sessions 8 16
"""
import argparse
from pathlib import Path

import numpy as np
import torch
import yaml

from airways.trainer import Trainer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("config.yaml"))
    parser.add_argument("--checkpoint", type=Path, default=Path("last.pt"))
    parser.add_argument("--sessions", type=int, nargs="+", default=[11, 16], help="epoch at which each session ends")
    args = parser.parse_args()
    cfg = yaml.safe_load(args.config.read_text())
    args.checkpoint.unlink(missing_ok=True)
    for number, until in enumerate(args.sessions):
        np.random.seed(cfg["training"]["seed"] + number)
        torch.manual_seed(cfg["training"]["seed"] + number)
        trainer = Trainer(cfg, args.checkpoint)
        trainer.fit(min(until, cfg["training"]["epochs"]))
    print(f"final val mIoU {trainer.evaluate():.3f}")


if __name__ == "__main__":
    main()
