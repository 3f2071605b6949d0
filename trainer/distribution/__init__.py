"""Several devices and machines: TF_CONFIG, strategy, connections between workers, preemption."""
