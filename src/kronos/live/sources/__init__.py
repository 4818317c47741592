"""One file for each library that candles are fetched with."""
