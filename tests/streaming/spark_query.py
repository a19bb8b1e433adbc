"""A query over a folder of JSON files, as a process of its own, so that a test can kill it.

python tests/streaming/spark_query.py RUN INPUT ANSWERS CHECKPOINT FILES_A_BATCH
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from seqkit.streaming.spark import local_session, stream_table

SCHEMA = "sensor string, at timestamp, number long, values array<double>"


def run_query(spark, run: str, source: Path, answers: Path, checkpoint: Path, files: int) -> None:
    """Answers all files of a folder, some in each micro-batch."""
    table = spark.readStream.schema(SCHEMA).option("maxFilesPerTrigger", files).json(str(source))
    made = stream_table(table, run, stream="sensor", time="at", sequence="number", backend="torch")
    writer = made.writeStream.option("checkpointLocation", str(checkpoint)).trigger(availableNow=True)
    writer.format("json").start(str(answers)).awaitTermination()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
    run, *folders, files = sys.argv[1:]
    session = local_session(2)
    run_query(session, run, *map(Path, folders), int(files))
    session.stop()
