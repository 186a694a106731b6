"""Reports: one file a format, all rendered from the same :class:`~traindx.diagnosis.Diagnosis`."""
