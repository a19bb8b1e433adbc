"""Small data of a user's own for the tests of distillation."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """Forty short series of two kinds, with a number for each that depends on its pace."""
    random = np.random.default_rng(0)
    lines = {"classes": ["series,time,x,y,target"], "values": ["series,time,x,y,target"]}
    for i in range(40):
        pace = 0.3 + 0.5 * (i % 2)
        for k in range(int(random.integers(8, 14))):
            row = (
                f"s{i},{k / 50},{np.sin(pace * k) + 0.1 * random.standard_normal():.5f},{random.standard_normal():.5f}"
            )
            lines["classes"].append(f"{row},{'slow' if i % 2 == 0 else 'fast'}")
            lines["values"].append(f"{row},{pace + 0.01 * i}")
    folder = tmp_path_factory.mktemp("data")
    for name, text in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(text) + "\n")
    return folder
