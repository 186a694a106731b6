"""MRI-CT fusion: how fused images are measured, and the trivial and classic baselines every figure stands beside."""
