"""Options, limits and recipes."""
