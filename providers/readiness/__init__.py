"""State that must be there before traffic comes: replicas that have caught up, model artifacts that are equal."""
