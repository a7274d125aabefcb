"""``failover.yaml`` to core values: reading, mistakes with their places, findings, canonical form, schema, drafts."""
