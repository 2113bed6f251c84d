"""The tandem command: certificates, a whole network on one machine, a narrated demonstration."""
