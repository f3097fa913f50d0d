"""Measurements, and the models that they are made on."""
