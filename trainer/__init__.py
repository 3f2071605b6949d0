"""Train, evaluate and export a lesion classifier from a prepared dataset. Knows nothing of Beam."""
