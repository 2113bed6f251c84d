# Apache Kafka from its published jars, for where no image registry is reached. It understands what docker-compose.yml says to the stock image.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE}
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home kafka
COPY jars /opt/kafka/libs
COPY kafka-entrypoint.py /opt/kafka/
USER kafka
ENTRYPOINT ["python3", "/opt/kafka/kafka-entrypoint.py"]
