"""Google Cloud through its own clients."""
