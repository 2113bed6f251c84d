"""The hub's readers of the clinics' uplinks."""
