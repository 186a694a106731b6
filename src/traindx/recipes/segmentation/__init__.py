"""Organs and lesions in 3D where part of a volume is not labelled."""
