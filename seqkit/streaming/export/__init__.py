"""Models as programs with their state as argument and result: ONNX, or torch.export."""

from seqkit.streaming.export.layers import form_of, pool_form_of
from seqkit.streaming.export.writing import export_model

__all__ = ["export_model", "form_of", "pool_form_of"]
