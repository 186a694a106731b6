"""Verification of data before any training: DICOM, NIfTI, images, label tables, boxes, splits."""
