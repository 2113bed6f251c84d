"""Exit code 0 if the service in this container says that it is ready; for HEALTHCHECK, where there is no shell."""

import http.client
import os
import sys

port = int(os.environ["TANDEM_HTTP_ADDRESS"].rpartition(":")[2])
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
try:
    connection.request("GET", "/health/ready")
    answer = connection.getresponse()
    sys.stdout.write(answer.read(400).decode())
    sys.exit(answer.status != 200)
except OSError as away:
    sys.exit(f"does not answer: {away}")
