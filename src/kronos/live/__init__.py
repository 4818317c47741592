"""Candles from exchanges and data vendors, through ccxt, yfinance and akshare, into Parquet that every other command reads."""
