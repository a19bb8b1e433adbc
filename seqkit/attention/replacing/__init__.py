"""Attention of trained models, replaced in place by a cheaper one and put back."""
