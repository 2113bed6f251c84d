"""What a clinic does: one function per use case, inside the caller's transaction."""
