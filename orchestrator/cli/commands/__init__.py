"""The commands, one file per concern. Each is a plain function; ``orchestrator.cli.app`` assembles them."""
