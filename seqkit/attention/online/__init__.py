"""Performer, hashed attention and Scatterbrain one sample or block at a time: functions with a state of fixed size."""
