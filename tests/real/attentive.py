"""A worker whose probers ask workloads twice a second what they have in flight: nights in tests are short.

python -m real.attentive --vantage east --domain watch/east
"""

from __future__ import annotations

from orchestrator.prober import loads
from orchestrator.runtime import worker

if __name__ == "__main__":
    loads.EVERY_S = 0.5
    worker.main()
