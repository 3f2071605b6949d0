"""The verify command: read a finished dataset again and name the first thing that is wrong."""
