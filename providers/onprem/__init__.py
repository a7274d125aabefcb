"""Load balancers of one's own: HAProxy and Envoy."""
