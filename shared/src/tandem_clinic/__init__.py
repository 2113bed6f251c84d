"""What every clinic has, whichever discipline it practises."""
