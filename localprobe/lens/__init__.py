"""What residuals and directions say in the model's own vocabulary."""
