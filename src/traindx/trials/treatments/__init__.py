"""Treatments, one folder each: what it is called, its side for cases and its side for running scripts."""
