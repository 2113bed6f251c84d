"""The therapy provider's gRPC services for its EHR."""
