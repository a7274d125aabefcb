"""Real servers for tests: BIND, HAProxy, Temporal, PostgreSQL, Chromium. Started on loopback, ended by process id."""
