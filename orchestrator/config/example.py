"""A whole ``failover.yaml``, shown on the reference page; a test keeps it free of mistakes and findings."""

from __future__ import annotations

EXAMPLE = """\
apiVersion: failover/v1
kind: Topology

regions: [aws/us-east-1, aws/eu-west-1, gcp/europe-west1, azure/westeurope, onprem/fra1]

vantages: # in other regions than the endpoints, so that each can judge all of them
  - {id: amsterdam, region: azure/westeurope}
  - {id: dublin, region: aws/eu-west-1}
  - {id: eemshaven, region: gcp/europe-west1}

notify:
  - {webhook: "https://hooks.example.com/failover", secret: {env: FAILOVER_WEBHOOK_KEY}}
  - {exec: [/usr/local/bin/page-me, --urgent]}

roles: {sre: [alice@example.com, bob@example.com], lead: [carol@example.com]} # whom runbooks ask
jurisdictions: {aws/us-east-1: us, onprem: us, aws/eu-west-1: eu} # the longest domain wins
pools: {fra-h100: {capacity: 300}} # hardware that endpoints of several services share
limits: {at_once: 10, per_domain: 5, change_guard: 30}
bake: 30m # what served well for so long is good to go back to

services:
  - id: chat
    name: chat.example.com
    probes: # of every endpoint; an endpoint's own probe with the same id changes the fields it names
      - id: http
        kind: http
        path: /health
        interval: 1s
        timeout: 800ms
        fall: 3
        fast_confirm: 100ms
        expect: {status: [2xx], json: {path: status, equals: ok}, latency: 500ms, certificate_days: 14}
      - id: chat
        kind: chat
        model: llama-3.1-70b
        prompt: Say ok
        max_tokens: 8
        interval: 60s
        headers: {Authorization: {env: CHAT_AUTHORIZATION}} # the whole value: Bearer ...
    endpoints:
      - id: us
        url: https://us.chat.example.com
        answer: [192.0.2.1, "2001:db8::1"]
        region: aws/us-east-1
        role: active
        capacity: 200
      - id: fra
        url: https://fra.chat.example.com:8443
        answer: [198.51.100.1]
        region: onprem/fra1
        role: standby
        capacity: 200
        pool: fra-h100
        probes:
          - {id: http, timeout: 900ms, ca: /etc/failover/fra-ca.pem}
    steering:
      provider: rfc2136
      zone: example.com
      ttl: 10s
      primary: 192.0.2.53:53
      servers: [192.0.2.53:53, 198.51.100.53:53]
      key: {name: failover., algorithm: hmac-sha256, secret: {env: FAILOVER_TSIG}}
    policy:
      mode: approval
      rto: 1m
      prefer: [fra]
      capacity: 150
      confirm: 10s
      cooldown: 5m # doubled by each further automatic run within flap_window
      flap_window: 6h
      acknowledge: true # after an automatic run somebody looks: failover ack chat
      serving: {least: 1}
      residency: [us]
      tier: 1
      runbooks: {unplanned: region-failover, planned: switchover, back: failback}
"""
