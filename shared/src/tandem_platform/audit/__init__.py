"""Accounts that their readers can check: chains of records under signed Merkle roots."""
