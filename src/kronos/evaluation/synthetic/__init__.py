"""Synthetic K-lines: sequences drawn by a model, judged against real ones."""
