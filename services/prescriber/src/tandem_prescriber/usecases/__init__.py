"""What a prescribing clinic does beside what every clinic does."""
