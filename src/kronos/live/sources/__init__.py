"""Sources of candles, one file for each library; `open_source` opens one by its specification."""

from __future__ import annotations

import re

from kronos.live.retry import RetryPolicy
from kronos.live.source import ADJUSTMENTS, Adjust, Source, Spec


def open_source(spec: Spec, timeframe: str, adjust: Adjust, base_url: str | None, retry: RetryPolicy) -> Source:
    """Open the source of a specification.

    Raises:
        ValueError: the library is not installed, or does not know the exchange, symbol, timeframe or adjustment.
    """
    if adjust not in ADJUSTMENTS:
        raise ValueError(f"adjust must be one of {', '.join(ADJUSTMENTS)}, found {adjust!r}")
    if base_url is not None and not re.match(r"https?://[^/\s]+", base_url):
        raise ValueError(f"the base URL must begin with http:// or https:// and a host, found {base_url!r}")
    try:
        if spec.library == "ccxt":
            from kronos.live.sources.ccxt import CcxtSource

            return CcxtSource(spec, timeframe, base_url, retry)
        if spec.library == "yfinance":
            from kronos.live.sources.yfinance import YahooSource

            return YahooSource(spec, timeframe, adjust, base_url, retry)
        from kronos.live.sources.akshare import AkshareSource

        return AkshareSource(spec, timeframe, adjust, base_url, retry)
    except ImportError as error:
        raise ValueError(
            f"{spec} needs the library {spec.library} ({error}); install it: pip install 'kronos-forecast[live]'"
        ) from error
