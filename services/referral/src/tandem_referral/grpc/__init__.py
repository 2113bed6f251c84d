"""The hub's gRPC entrance: translates only."""
