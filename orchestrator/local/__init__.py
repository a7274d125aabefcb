"""The local world: regions on loopback with model servers, DNS, client load and faults. It is data plane."""
