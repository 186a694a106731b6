"""Fusion of two plain images of any modality, as files: no HU, no masks, no targets."""
