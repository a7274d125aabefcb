"""Durable workflows: watch, decide, carry out, rehearse. They choose nothing; core and runbooks do."""
