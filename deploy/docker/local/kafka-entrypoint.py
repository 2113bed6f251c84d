"""As the stock image does it: settings from KAFKA_*, a formatted log directory, then the broker in this process's place."""

import os
import shlex
import subprocess
from pathlib import Path

CLUSTER = "5L6g3nShT-eMCtK--X86sw"
NOT_PROPERTIES = {"KAFKA_HEAP_OPTS"}

properties = {
    name.removeprefix("KAFKA_").lower().replace("_", "."): value
    for name, value in os.environ.items()
    if name.startswith("KAFKA_") and name not in NOT_PROPERTIES
}
file = Path.home() / "server.properties"
file.write_text("".join(f"{name}={value}\n" for name, value in sorted(properties.items())))
options = shlex.split(os.environ.get("KAFKA_HEAP_OPTS", ""))
java = [
    "java",
    *options,
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-cp",
    "/opt/kafka/libs/*",
]
if not Path(properties["log.dirs"], "meta.properties").exists():
    tool = [*java, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config", str(file)]
    subprocess.run(tool, check=True)
os.execvp("java", [*java, "kafka.Kafka", str(file)])  # noqa: S606 - so that signals reach the broker itself
