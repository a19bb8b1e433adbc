"""Train on JapaneseVowels, look at the result, and predict for single series.

Nine speakers say a vowel; each series has 12 channels and 7 to 29 samples. The data come with sktime.
"""

import tempfile

import torch

import seqkit

# Few epochs keep the example short; leave `epochs` out for the recipe that the README measures.
with tempfile.TemporaryDirectory() as folder:
    run = seqkit.train("japanese_vowels", epochs=8, out=f"{folder}/vowels")
    print(f"test accuracy {run.metrics['accuracy']:.1%}, pictures in {run.path}: {run.summary['pictures']}")

    model = seqkit.load(run.path)
    series = torch.randn(1, 20, 12)
    probabilities = model.predict(series)
    print(
        "speaker", model.info.classes[int(probabilities.argmax())], f"with probability {float(probabilities.max()):.2f}"
    )
