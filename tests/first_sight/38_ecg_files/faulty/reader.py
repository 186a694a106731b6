"""Records as 16 bit integers in microvolts, all leads of one instant side by side, after an eight byte header."""
import struct

import numpy as np

LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]


def write_record(path, millivolts):
    """`millivolts`: (samples, leads)."""
    samples, leads = millivolts.shape
    body = np.round(millivolts * 1000).astype("<i2")
    path.write_bytes(struct.pack("<II", leads, samples) + body.tobytes())


def load_record(path):
    """Returns millivolts as float32, (leads, samples)."""
    blob = path.read_bytes()
    leads, samples = struct.unpack_from("<II", blob)
    raw = np.frombuffer(blob, "<i2", leads * samples, offset=8)
    signal = raw.reshape(leads, samples)
    return np.ascontiguousarray(signal, dtype=np.float32) / 1000
