"""The prescriber's gRPC services for its EHR."""
