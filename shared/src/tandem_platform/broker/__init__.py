"""The broker that a small network starts by itself, and the leash on which child processes run."""
