"""`KronosPredictor`: a table of K-lines in, a table of forecast K-lines out."""

from kronos.klines.window import DEFAULT_LOOKBACK, default_lookback
from kronos.nn.device import best_device
from kronos.predictor.predictor import Calibrating, KronosPredictor

__all__ = ["DEFAULT_LOOKBACK", "Calibrating", "KronosPredictor", "best_device", "default_lookback"]
