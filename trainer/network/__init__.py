"""The network and its layers, and networks of keras.applications in its place."""
