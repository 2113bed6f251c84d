"""The aggregate and its rules: standard library and clinical knowledge only."""
