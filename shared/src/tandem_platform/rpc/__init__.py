"""Remote calls, in one process or over mutual TLS: who calls, what they may ask, how a refusal travels."""
