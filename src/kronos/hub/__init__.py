"""The model zoo: names, pinned revisions, checksums, pairing, and `load`."""
