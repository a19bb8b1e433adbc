"""Train a named data set, read the result, load the model, and ask it about single series.

JapaneseVowels comes with sktime: nine speakers say a vowel, each series has 12 channels and 7 to 29 samples.

    python examples/01_train_and_predict.py [FOLDER]

Expect about 97 % after 8 epochs; without `epochs` the recipe that the README measures is trained. FOLDER
(runs/examples) gets the run, with its own pictures, and 01_train_and_predict.png: what the model says of one utterance
of each speaker.
"""

import sys
from pathlib import Path

import torch

import seqkit
from seqkit.datasets import get_source
from seqkit.figures import new_figure, save_figure

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
run = seqkit.train("japanese_vowels", epochs=8, out=folder / "vowels", overwrite=True)
print(f"test accuracy {run.metrics['accuracy']:.1%}; {run.path} holds {', '.join(run.summary['pictures'])}")

model = seqkit.load(run.path)  # in another script, this is where you start
test, classes = get_source("japanese_vowels").load()["test"], model.info.classes
chosen = [list(test.target).index(speaker) for speaker in classes]  # the first test utterance of each speaker
shares = torch.cat([model.predict(torch.as_tensor(test.values[k])[None].float()) for k in chosen])
for speaker, row in zip(classes, shares, strict=True):
    print(f"speaker {speaker}: the model says {classes[int(row.argmax())]} with probability {float(row.max()):.2f}")

figure = new_figure(5, 4.2)
axes = figure.subplots()
drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
axes.set_xticks(range(len(classes)), classes)
axes.set_yticks(range(len(classes)), classes)
axes.set(title="One test utterance of each speaker", xlabel="speaker, by the model", ylabel="speaker, in truth")
figure.colorbar(drawn, label="probability")
save_figure(figure, folder / "01_train_and_predict.png")
print("picture:", folder / "01_train_and_predict.png")
