"""The space of features: what exaggeration does, whom it fails, and maps of it."""
