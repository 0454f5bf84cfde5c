"""A container's own look at its service: `python health.py PORT` ends with 0 when /healthz answers 200."""

import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
connection.request("GET", "/healthz")
sys.exit(connection.getresponse().status != 200)
