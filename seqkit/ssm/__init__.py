"""Layers around HiPPO memory: LSSL (dense A), S4 (normal plus low rank), S4D (diagonal); recurrent HiPPORNN and LMU."""

from seqkit.ssm.base import LinearSystem, SSMState, StateSpaceMixer
from seqkit.ssm.dissipative import DissipativeMatrix
from seqkit.ssm.hippo_rnn import HiPPORNN
from seqkit.ssm.legs_pool import LegSPool
from seqkit.ssm.lmu import LMU
from seqkit.ssm.lssl import LSSL
from seqkit.ssm.memory_rnn import MemoryRNN, MemoryRNNState
from seqkit.ssm.s4 import S4
from seqkit.ssm.s4d import S4D

__all__ = [
    "LMU",
    "LSSL",
    "S4",
    "S4D",
    "DissipativeMatrix",
    "HiPPORNN",
    "LegSPool",
    "LinearSystem",
    "MemoryRNN",
    "MemoryRNNState",
    "SSMState",
    "StateSpaceMixer",
]
