#!/usr/bin/python3
"""A relay that can be set and is read back: one line in, one answer out (mode: poll)."""
import json
import sys

relay, changes = False, 0
for line in sys.stdin:
    question, answer = json.loads(line), []
    if "set" in question:
        changes += question["value"] != relay
        relay = question["value"]  # here a real relay is switched
        answer = [{"ack": question["id"]}]
    else:
        answer = [{"channel": "relay", "value": relay}, {"channel": "changes", "value": changes}, {"done": question["read"]}]
    print("\n".join(map(json.dumps, answer)), flush=True)
