"""Small cases for tests: each is somebody's plausible code, healthy unless a switch makes one thing wrong."""
