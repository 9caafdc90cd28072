#!/usr/bin/env python3
"""Reads the table of incidents from Kafka, with nothing of Epicenter but its published schema.

    pip install -r requirements.txt
    ./incidents.py --bootstrap localhost:9092 --schema ../../../proto/incident.avsc
    ./incidents.py --bootstrap localhost:9092 --schema incident.avsc --registry http://localhost:8081

It prints a line of JSON for the newest state of each incident, then those of its changes, and ends when nothing more has
come for --idle seconds (never, without it).
"""

import argparse
import io
import json
import sys
import urllib.request

import confluent_kafka
import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form


class Reader:
    """Reads what any version of Epicenter wrote, in either frame, as the schema that this program knows."""

    def __init__(self, schema, registry):
        # Lets this program be older or newer than those who write: fastavro resolves their schema to it.
        self.schema = fastavro.parse_schema(schema)
        own = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
        self.by_fingerprint = {own: self.schema}
        self.by_id = {}
        self.registry = registry

    def read(self, payload):
        if payload[:2] == b"\xc3\x01":
            # Avro's single-object encoding: the schema's fingerprint.
            writer = self.by_fingerprint.get(payload[2:10])
            if writer is None:
                raise ValueError("written by a schema that is not known here: take that of the newest release")
            body = payload[10:]
        elif payload[:1] == b"\0":
            # Confluent's wire format: the id that the registry gave to the schema.
            writer, body = self.of_id(int.from_bytes(payload[1:5], "big")), payload[5:]
        else:
            raise ValueError(f"no Avro record: {payload[:8]!r}")
        return fastavro.schemaless_reader(io.BytesIO(body), writer, self.schema)

    def of_id(self, number):
        if number not in self.by_id:
            if self.registry is None:
                raise ValueError(f"names schema {number} of a registry: give its address with --registry")
            url = f"{self.registry.rstrip('/')}/schemas/ids/{number}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                self.by_id[number] = fastavro.parse_schema(json.loads(json.load(answer)["schema"]))
        return self.by_id[number]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", required=True, help="brokers, host:port")
    parser.add_argument("--schema", required=True, help="proto/incident.avsc")
    parser.add_argument("--registry", help="address of the registry's Confluent API, where there is one")
    parser.add_argument("--topic", default="epicenter.incidents")
    parser.add_argument("--idle", type=float, help="end when nothing has come for so many seconds")
    arguments = parser.parse_args()
    with open(arguments.schema, encoding="utf-8") as file:
        reader = Reader(json.load(file), arguments.registry)

    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": arguments.bootstrap,
            # Needed to make a consumer; nothing is committed, so that each start reads the whole table.
            "group.id": "incidents-example",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            # What an aborted transaction left is no incident.
            "isolation.level": "read_committed",
        }
    )
    known = consumer.list_topics(arguments.topic, timeout=15).topics[arguments.topic]
    if known.error is not None:
        sys.exit(f"{arguments.topic}: {known.error}")
    start = confluent_kafka.OFFSET_BEGINNING
    consumer.assign([confluent_kafka.TopicPartition(arguments.topic, part, start) for part in known.partitions])
    while (message := consumer.poll(arguments.idle if arguments.idle is not None else -1)) is not None:
        if message.error() is not None:
            sys.exit(str(message.error()))
        # A tombstone: the incident ended long ago. Keys that begin with a zero byte are the services' own marks.
        if message.value() is None or message.key()[:1] == b"\0":
            continue
        incident = reader.read(message.value())
        shown = {name: incident[name] for name in ("id", "cluster", "version", "state", "severity", "title")}
        print(json.dumps(shown | {"cause": incident["cause"]["class"]}), flush=True)
    consumer.close()


if __name__ == "__main__":
    main()
