"""Streams on a cluster: a folder of samples to a folder of answers by Spark, and predictions for a table of series.

Here the cluster is this machine; elsewhere only the session and the source differ, see "On a cluster" in
docs/streaming.md. Needs `pip install 'seqkit[spark]'` and Java 17 or newer;
without them the example says so and ends.

    python examples/15_spark.py [FOLDER]

Expect answers after every tenth sample, and a sentence for the one row that is wrong. FOLDER (runs/examples) gets
15_spark.png: Spark's answers on top of those of a stream in this process.
"""

import json
import math
import os
import shutil
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from seqkit import DataInfo, ModelConfig, Stream
from seqkit.figures import new_figure, save_figure
from seqkit.models import SequenceModel, save_model

for library in ("pyspark", "pandas", "pyarrow"):
    if find_spec(library) is None:
        print(f"skipped: this example needs {library} (pip install 'seqkit[spark]')")
        sys.exit(0)
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    print("skipped: this example needs Java 17 or newer")
    sys.exit(0)

from seqkit.streaming.spark import local_session, predict_table, stream_table  # noqa: E402

picture = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples") / "15_spark.png"
warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    # A run folder; a trained one is used in the same way.
    info = DataInfo("pulse", "classification", n_channels=2, classes=("rest", "run"), sample_rate=50.0)
    model = SequenceModel.from_config(ModelConfig.preset("s4d", d_model=16, n_layers=1, order=16), info, seed=0)
    save_model(model, folder / "run")

    # Samples of three people as they would come from a broker, one row of which is wrong.
    people = {person: np.random.default_rng(k).normal(size=(40, 2)) for k, person in enumerate(("ada", "bob", "cyd"))}
    rows = [
        {"person": person, "number": k, "values": sample}
        for k in range(40)
        for person, signal in people.items()
        for sample in [signal[k].tolist()]
    ]
    rows.insert(70, {"person": "bob", "number": 24, "values": [1.0]})
    (folder / "samples").mkdir()
    for part in range(2):
        text = "".join(json.dumps(row) + "\n" for row in rows[part * 61 : (part + 1) * 61])
        (folder / "samples" / f"{part}.json").write_text(text)

    spark = local_session(2)
    spark.sparkContext.setLogLevel("ERROR")
    samples = spark.readStream.schema("person string, number long, values array<double>").json(str(folder / "samples"))
    answers = stream_table(samples, folder / "run", stream="person", sequence="number", every=10)
    writer = answers.writeStream.option("checkpointLocation", str(folder / "checkpoint")).trigger(availableNow=True)
    writer.format("json").start(str(folder / "answers")).awaitTermination()  # without a trigger it would go on for ever

    found = spark.read.schema(answers.schema).json(str(folder / "answers")).collect()
    for row in sorted(found, key=lambda row: (row.person, row["count"])):
        print(row.person, row["count"], row.prediction, row.error or [round(share, 3) for share in row.probabilities])

    figure = new_figure(7, 3.8)
    axes = figure.subplots()
    for colour, (person, signal) in zip(("C0", "C1", "C2"), people.items(), strict=True):
        stream = Stream(model)
        here = [float(stream.push(sample)[0]) for sample in signal]
        there = {row["count"]: row.probabilities[0] for row in found if row.person == person and row.error is None}
        assert all(math.isclose(share, here[count - 1], rel_tol=1e-5) for count, share in there.items())
        axes.plot(range(1, 41), here, color=colour, alpha=0.4, label=f"{person}, in this process")
        axes.plot(list(there), list(there.values()), "o", color=colour, label=f"{person}, by Spark")
    axes.set(title="Answers of an untrained model to noise, twice", xlabel="samples", ylabel="probability of rest")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=3)
    save_figure(figure, picture)
    print("picture:", picture)

    # Whole series, one in each row; a column that is not read comes through.
    series = [(person, signal.tolist()) for person, signal in people.items()]
    table = spark.createDataFrame(series, "person string, values array<array<double>>")
    predict_table(table, folder / "run").select("person", "prediction").show()
    spark.stop()
