"""Commands around archives of skin-lesion images: audit, prepare, verify, show, score; Beam does the large ones.

docs/architecture.md has the tree, the graph of packages and the flow of each job.
"""

__version__ = "0.1.0"
