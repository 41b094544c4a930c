"""What a user can set: keys and themes."""
