"""Telling people of the clinic that something waits for them, without saying what."""
