"""Bytes on disk, without any knowledge of models."""
