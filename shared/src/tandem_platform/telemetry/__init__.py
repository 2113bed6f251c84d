"""Logs and metrics, with nothing about patients in them."""
