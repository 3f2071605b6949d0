"""Tables of the user's own, whose columns options name."""

from pipelines.domain.layout import Layout

LAYOUT = Layout("table")
