"""Models over series: sizes and presets, the model itself, and how it is saved and loaded."""

from seqkit.models.config import ModelConfig, model_names, register_model
from seqkit.models.save import load_model, save_model
from seqkit.models.sequence_model import ModelState, SequenceModel

__all__ = ["ModelConfig", "ModelState", "SequenceModel", "load_model", "model_names", "register_model", "save_model"]
