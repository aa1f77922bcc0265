"""Where real clips come from: readers of corpora that a user has on disk."""
