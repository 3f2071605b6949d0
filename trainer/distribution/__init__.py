"""Several devices and machines: strategy, cluster, coordination."""
