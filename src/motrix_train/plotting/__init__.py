"""Pictures of one run or of several."""
