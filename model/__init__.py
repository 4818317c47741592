"""The import that existing scripts have: ``from model import Kronos, KronosTokenizer, KronosPredictor``."""

from model.kronos import Kronos, KronosPredictor, KronosTokenizer

__all__ = ["Kronos", "KronosPredictor", "KronosTokenizer"]
