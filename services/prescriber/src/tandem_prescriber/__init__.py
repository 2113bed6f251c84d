"""A prescribing clinic: evaluation, prescriptions, dosing sessions and their clearance."""
