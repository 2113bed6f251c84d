"""How rows travel fast: one port, carried by Kafka or, in a simulated network, by memory."""
