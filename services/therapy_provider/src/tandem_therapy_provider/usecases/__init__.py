"""What a therapy clinic does beside what every clinic does."""
