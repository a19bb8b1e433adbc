"""The cases by name, one for each operator and one for each whole layer."""

from __future__ import annotations

from collections.abc import Sequence

from seqkit.bench.case import Case
from seqkit.bench.cases.attention import ATTENTION
from seqkit.bench.cases.block_product import BLOCK_PRODUCT
from seqkit.bench.cases.butterfly import BUTTERFLY
from seqkit.bench.cases.codes import QUANTISE
from seqkit.bench.cases.convolution import LONG_CONV
from seqkit.bench.cases.kernels import CAUCHY, KRYLOV, VANDERMONDE
from seqkit.bench.cases.layer import S4D_LAYER
from seqkit.bench.cases.memory import LEGS_UPDATE, LTI_MEMORY
from seqkit.bench.cases.monarch import MONARCH
from seqkit.bench.cases.scan import FIRST_ORDER_SCAN, SSM_SCAN, SSM_STEP
from seqkit.checks import check_choice

__all__ = ["CASES", "find_cases"]

CASES = {
    case.name: case
    for case in (
        *(
            VANDERMONDE,
            KRYLOV,
            CAUCHY,
            LONG_CONV,
            SSM_SCAN,
            FIRST_ORDER_SCAN,
            SSM_STEP,
            LEGS_UPDATE,
            LTI_MEMORY,
            MONARCH,
            BLOCK_PRODUCT,
            BUTTERFLY,
            ATTENTION,
            QUANTISE,
            S4D_LAYER,
        ),
    )
}


def find_cases(names: Sequence[str] = ()) -> list[Case]:
    """The cases with these names, in the order of the registry; all of them if there are none.

    Raises:
        ValueError: a name has no case; the sentence lists those that have.

    Example:
        >>> [case.name for case in find_cases(["long_conv", "krylov"])]
        ['krylov', 'long_conv']
    """
    for name in names:
        check_choice("operator", name, CASES)
    return [case for name, case in CASES.items() if not names or name in names]
