"""The predicted face as an avatar (Fig. 13 of the paper)."""
