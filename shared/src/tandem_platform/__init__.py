"""Mechanism that every service stands on: exchange, sealing, storage, calls, web, telemetry."""
