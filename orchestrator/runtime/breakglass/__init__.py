"""Break-glass: a plan carried out from one machine, with Temporal unreachable. Same plan, same steps, same fence."""
