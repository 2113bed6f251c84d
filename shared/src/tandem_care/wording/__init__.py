"""The words that are put before patients and recipients, by language and version. ``editions`` reads them."""
