"""Calibration of a model's paths: means shrunk towards the last price, spreads fitted to outcomes, from past windows only.

`kronos.calibration.fitting`, which fits one, is imported on its own.
"""

from kronos.calibration.adaptive import AdaptiveLevels
from kronos.calibration.calibration import Calibration, SeriesCalibration

__all__ = ["AdaptiveLevels", "Calibration", "SeriesCalibration"]
