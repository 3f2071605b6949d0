"""Where images come from: layouts, inputs, listing and metadata tables."""
