"""Qlib data folders: reading, exporting and preparing them; starting Qlib."""
