from scope.ema import EMA
from scope.frames import PHASES, Frames

__all__ = ["EMA", "PHASES", "Frames"]
