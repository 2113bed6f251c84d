"""A clinic's side of the exchange: its uplink to the hub, its downlink from it, and Sync between them."""
