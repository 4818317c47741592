"""Timestamps of the next bars of a market.

``future_timestamps`` continues a history of timestamps, either by the pattern that the history itself shows (sessions,
lunch breaks, weekends, the clock that the market keeps) or by a named exchange calendar (holidays, early closes).
"""

from kronos.calendars.beyond import CalendarWarning
from kronos.calendars.future import describe_calendar, future_timestamps
from kronos.calendars.history import infer_frequency

__all__ = ["CalendarWarning", "describe_calendar", "future_timestamps", "infer_frequency"]
