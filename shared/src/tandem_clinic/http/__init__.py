"""The clinic's REST API for its EHR and portal: translation only."""
