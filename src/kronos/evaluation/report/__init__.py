"""Report of an evaluation: sentences, tables and pictures in one HTML page."""
