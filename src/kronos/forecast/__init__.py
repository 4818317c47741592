"""The distribution of a forecast: sampled paths, their figures, tables, files and pictures."""

from kronos.forecast.forecast import Forecast as Forecast
