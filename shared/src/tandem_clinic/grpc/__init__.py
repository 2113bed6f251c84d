"""The gRPC services that a clinic offers to its own EHR: translation only."""
