"""What a clinic keeps: tables, and functions that read and write them inside a transaction."""
