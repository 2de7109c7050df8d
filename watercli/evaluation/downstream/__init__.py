"""Downstream uses of embeddings: regionalisation, seasons of low flow and floods, the choice of donors.

Each is a protocol of ``evaluate``, and sets the same head on the model's embeddings and on what there is without a
model: attributes, raw weather, embeddings of the model before training.
"""
