"""Synthetic K-lines: sequences drawn by a model, compared with real ones."""
