"""Concept maps, prototypes and a task from chest radiographs with boxes."""
