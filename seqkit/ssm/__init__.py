"""Linear state-space mixers: LSSL with a dense A, S4 with normal plus low rank, S4D with a diagonal one."""

from seqkit.ssm.base import LinearSystem, SSMState, StateSpaceMixer
from seqkit.ssm.dissipative import DissipativeMatrix
from seqkit.ssm.lssl import LSSL
from seqkit.ssm.s4 import S4
from seqkit.ssm.s4d import S4D

__all__ = ["LSSL", "S4", "S4D", "DissipativeMatrix", "LinearSystem", "SSMState", "StateSpaceMixer"]
