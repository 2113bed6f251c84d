"""The hub's account of itself, in a form that its readers can check: chains of records under signed Merkle roots."""
