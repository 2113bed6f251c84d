"""Pure clinical knowledge: categories, permission, scales, screening, entry kinds, referral states."""
