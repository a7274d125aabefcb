"""Azure through Azure Resource Manager."""
