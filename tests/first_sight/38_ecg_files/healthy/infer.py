"""python infer.py RECORD [RECORD ...]"""
import sys
from pathlib import Path

import torch

from reader import load_record
from train import SITES, ECGNet


def main():
    net = ECGNet()
    net.load_state_dict(torch.load("ecg.pt"))
    net.eval()
    for name in sys.argv[1:]:
        with torch.no_grad():
            p = net(torch.from_numpy(load_record(Path(name)))[None]).softmax(1)[0]
        print(name, SITES[int(p.argmax())], f"{p.max():.3f}")


if __name__ == "__main__":
    main()
