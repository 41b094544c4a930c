"""What steers: a direction at a strength, the positions where it applies, and what a strength means."""
