"""Options of training with their limits, and recipes: options in a file."""
