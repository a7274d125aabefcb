"""The local world's provider: capacity, draining, faults and weighted steering on one machine. HTTP and DNS only."""
