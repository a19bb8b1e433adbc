"""Mel-frequency cepstral coefficients of one-second commands, by torchaudio."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from seqkit.checks import missing_extra
from seqkit.datasets.series import Array

__all__ = ["HOP", "N_MFCC", "RATE", "Mfcc", "check_torchaudio", "n_frames"]

RATE, HOP, N_MFCC = 16_000, 100, 20
_N_FFT, _N_MELS = 200, 64


class Mfcc:
    """Twenty coefficients every 100 samples of 16 kHz sound, in windows of 200 samples: 160 frames a second.

    Raises:
        ImportError: torchaudio is not installed, or does not work beside this torch.

    Source:
        The parameters of the LSSL paper's experiments (arXiv:2110.13985): torchaudio's MFCC with n_fft=200, n_mels=64,
        n_mfcc=20, log_mels=True, 16 kHz; Davis and Mermelstein 1980.

    Cost:
        About 0.4 ms for a second of sound.

    Example:
        >>> Mfcc()(np.zeros((16000, 1), dtype=np.float32)).shape
        (161, 20)
    """

    rate, hop, n_channels, shortest = RATE, HOP, N_MFCC, 101  # the first window reflects 100 samples

    def __init__(self) -> None:
        check_torchaudio()
        self._made: Any = None

    def length(self, n_samples: int) -> int:
        """Frames of a clip; the first and the last window reach half over its ends."""
        return n_frames(n_samples)

    def __call__(self, samples: Array) -> Array:
        """Coefficients (1 + L // 100, 20) of samples (L, 1) in [-1, 1)."""
        import torch  # noqa: PLC0415 - listing data sets must not wait for it

        if self._made is None:
            self._made = _transform()
        with torch.no_grad():
            coefficients: Array = self._made(torch.from_numpy(np.ascontiguousarray(samples[:, 0]))).numpy()
        return coefficients.T

    def __getstate__(self) -> dict[str, Any]:
        """Without the transform, which each worker makes for itself."""
        return {"_made": None}


def n_frames(n_samples: int) -> int:
    """Number of frames of a clip.

    Example:
        >>> n_frames(16000)
        161
    """
    return 1 + n_samples // HOP


def check_torchaudio() -> Any:
    """Imports torchaudio, or says which one is needed.

    Raises:
        ImportError: it is not installed, or does not work beside this torch.
    """
    try:
        import torchaudio  # noqa: PLC0415 - optional, and slow to import
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torchaudio":
            raise _no_pair(error) from None
        raise missing_extra("torchaudio", "audio", "MFCC features (features=mfcc)") from None
    except Exception as error:  # built for another torch, it fails in several ways
        raise _no_pair(error) from None
    return torchaudio


def _no_pair(error: BaseException) -> ImportError:
    import torch  # noqa: PLC0415

    reason = (str(error) or type(error).__name__).splitlines()[0]
    return ImportError(
        f"MFCC features (features=mfcc) need a torchaudio that imports beside torch {torch.__version__} ({reason}); "
        "torch 2.11.0 with torchaudio 2.11.0 works, and features=raw needs neither"
    )


def _transform() -> Any:
    torchaudio = check_torchaudio()
    with warnings.catch_warnings():  # 64 bands of 101 frequencies leave some empty, as published
        warnings.filterwarnings("ignore", "At least one mel filterbank", UserWarning)
        return torchaudio.transforms.MFCC(
            sample_rate=RATE, n_mfcc=N_MFCC, log_mels=True, melkwargs={"n_fft": _N_FFT, "n_mels": _N_MELS}
        )
