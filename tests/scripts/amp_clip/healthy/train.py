"""Super-resolution of MR slices, mixed precision."""
import argparse

import torch
import torch.nn as nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=80)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--clip", type=float, default=1.0)
opt = parser.parse_args()


class SRNet(nn.Module):
    def __init__(self, nf=16):
        super(SRNet, self).__init__()
        self.head = nn.Conv2d(1, nf, 5, padding=2)
        self.body = nn.Sequential(nn.Conv2d(nf, nf, 3, padding=1), nn.ReLU(True), nn.Conv2d(nf, nf, 3, padding=1))
        self.tail = nn.Sequential(nn.Conv2d(nf, 4, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, lr_img):
        h = torch.relu(self.head(lr_img))
        h = h + self.body(h)
        base = nn.functional.interpolate(lr_img, scale_factor=2, mode="bilinear", align_corners=False)
        return base + self.tail(h)


torch.manual_seed(1)
hr = nn.functional.avg_pool2d(torch.randn(48, 1, 68, 68), 5, stride=1) * 5
hr = hr[:, :, :32, :32]
lo = nn.functional.avg_pool2d(hr, 2)

net = SRNet()
optimizer = torch.optim.SGD(net.parameters(), lr=opt.lr, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
l1 = nn.L1Loss()

for step in range(opt.steps):
    idx = torch.randint(0, 40, (8,))
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sr = net(lo[idx])
        loss = l1(sr.float(), hr[idx])
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(net.parameters(), opt.clip)
    scaler.step(optimizer)
    scaler.update()
    if step % 20 == 19:
        net.eval()
        with torch.no_grad():
            val = l1(net(lo[40:]), hr[40:])
        net.train()
        print("step %d train %.4f val %.4f scale %g" % (step, loss.item(), val.item(), scaler.get_scale()))
