"""Running it: connection, worker (the one composition root), embedded Temporal, schedules, logging."""
