"""The list of models: names, pinned revisions and checksums, and the pairing of tokenizers and models."""
