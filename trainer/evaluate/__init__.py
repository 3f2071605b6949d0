"""The evaluation command: predictions, labels, figures and subgroups, and the report as page, Markdown and table."""
