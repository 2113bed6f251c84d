"""Generated from the contracts in protos/tandem; changed there, never here."""
