"""Reproducible faults: each turns a healthy case into a documented broken one, from outside."""
