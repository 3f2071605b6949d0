"""Tables of the user's own, whose columns options name."""

from pipelines.sources.layout import Layout

LAYOUT = Layout("table")
