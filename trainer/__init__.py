"""Train, evaluate and export a lesion classifier from a prepared dataset. Imports no Beam."""
