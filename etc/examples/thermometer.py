#!/usr/bin/python3
"""Reads a file that holds thousandths of degrees, again and again: thermometer.py FILE SECONDS (mode: talk)."""
import json
import sys
import time

while True:
    reading = {"channel": "temp", "unit": "Cel"}
    try:
        with open(sys.argv[1]) as file:
            reading["value"] = int(file.read()) / 1000
    except (OSError, ValueError) as error:
        reading["fault"] = str(error)
    print(json.dumps(reading), flush=True)
    time.sleep(float(sys.argv[2]))
