"""Class folders: the name of a folder is the label of the images in it."""

from pipelines.domain.layout import Layout

LAYOUT = Layout("class folders", folders=True)
