"""The pure core: values and rules only. No IO, no clock, no randomness, standard library only."""
