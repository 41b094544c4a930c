"""Many answers at once on one engine: requests join the rows that are being decoded, and leave as they end."""
