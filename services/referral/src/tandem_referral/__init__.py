"""The hub between practices: directory, referral lifecycle, consent decisions, release and audit."""
