"""The files that the embedded broker reads: its properties and its logging."""

from __future__ import annotations

from pathlib import Path

from imece.errors import ConfigError

# One node plays both roles. The second half keeps it small and quick: partition counts of the
# internal topics are fixed at first use; the cleaner's buffer defaults to 128 MiB of heap; the
# offsets of a group that is scaled to zero must outlive a holiday (the default is 7 days). A
# killed broker may come back only after the session of its former self: 9 s unless we say less.
_FIXED = """\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=1
share.coordinator.state.topic.num.partitions=1
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
log.segment.bytes=16777216
log.index.size.max.bytes=1048576
log.retention.hours=168
offsets.retention.minutes=43200
"""

_LOGGING = """\
status=warn
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName=${sys:kafka.logs.dir}/broker.log
appender.file.filePattern=${sys:kafka.logs.dir}/broker.%i.log
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=3
logger.config.name=org.apache.kafka.common.config
logger.config.level=warn
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
"""


def write(folder: Path, data: Path, port: int, controller_port: int) -> Path:
    """Write ``server.properties`` and ``log4j2.properties`` and return the path of the first."""
    if "," in str(data):
        raise ConfigError(f"Kafka cannot keep data under {data}: use a home without a comma")
    here = {
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": escape(str(data)),
    }
    lines = "".join(f"{key}={value}\n" for key, value in here.items())
    (folder / "log4j2.properties").write_text(_LOGGING)
    properties = folder / "server.properties"
    properties.write_text(_FIXED + lines, encoding="ascii")
    return properties


def escape(value: str) -> str:
    r"""Escape for a Java properties file, which is Latin-1 and knows only ``\uXXXX`` units."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    pairs = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(unit) if 32 <= unit < 127 else f"\\u{unit:04x}" for unit in pairs)
