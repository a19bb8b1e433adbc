"""Streams and predictions on a cluster, in tables of Spark; needs the extra `spark`, and Java."""

from importlib.util import find_spec

from seqkit.checks import missing_extra

for _library in ("pyspark", "pandas", "pyarrow"):
    if find_spec(_library) is None:
        raise missing_extra(_library, "spark", "seqkit.streaming.spark")

from seqkit.streaming.spark.prediction import predict_table  # noqa: E402
from seqkit.streaming.spark.session import STATE_STORE, local_session  # noqa: E402
from seqkit.streaming.spark.table import stream_table  # noqa: E402

__all__ = ["STATE_STORE", "local_session", "predict_table", "stream_table"]
