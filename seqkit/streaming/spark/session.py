"""A Spark session on this machine, set up for streams."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from seqkit.checks import check_positive_int

__all__ = ["STATE_STORE", "local_session"]

PYTHON = "PYSPARK_PYTHON"

STATE_STORE = {
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    )
}
"""What a cluster's configuration must hold for `stream_table`: states lie in RocksDB, on the workers' disks."""


def local_session(
    cores: int = 2, *, name: str = "seqkit", options: Mapping[str, str | int | bool] | None = None
) -> SparkSession:
    """A session of this process alone: for trying, for tests, and for tables that fit one machine.

    It is bound to loopback, has no web page, runs its workers by this Python (or the one that the variable
    PYSPARK_PYTHON names), and keeps states in RocksDB.

    Args:
        cores: Tasks at once; as many partitions after a shuffle.
        name: Name of the application.
        options: Further options of Spark, or other values for these.

    Raises:
        ValueError: `cores` below 1.
        RuntimeError: there is no Java, or Spark does not start.

    Example:
        >>> local_session(2).range(3).count()  # doctest: +SKIP
        3
    """
    check_positive_int("cores", cores)
    _check_java()
    settings: dict[str, str | int | bool] = {
        **STATE_STORE,
        "spark.ui.enabled": False,
        "spark.ui.showConsoleProgress": False,
        "spark.sql.shuffle.partitions": cores,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        **(options or {}),
    }
    builder = SparkSession.builder.master(f"local[{cores}]").appName(name)
    for key, value in settings.items():
        builder = builder.config(key, str(value).lower() if isinstance(value, bool) else value)
    try:
        with _workers_python():
            return builder.getOrCreate()
    except PySparkRuntimeError as error:
        raise RuntimeError(
            f"Spark did not start ({error}); see what Java wrote above, and use Java 17 or newer"
        ) from error


@contextmanager
def _workers_python() -> Iterator[None]:
    """Has Spark take this Python for its workers; it looks at the environment alone, and would take any `python3`."""
    chosen = os.environ.get(PYTHON)
    os.environ[PYTHON] = chosen or sys.executable
    try:
        yield
    finally:
        if chosen is None:
            del os.environ[PYTHON]


def _check_java() -> None:
    """Refuses to start without Java, where Spark itself would fail with a page of text."""
    home = os.environ.get("JAVA_HOME")
    if home and not Path(home, "bin", "java").is_file():
        raise RuntimeError(f"JAVA_HOME is {home}, which holds no bin/java; set it to the folder of a Java 17 or newer")
    if not home and shutil.which("java") is None:
        raise RuntimeError("Spark needs Java, and there is no `java` on the path; install Java 17 or newer")
