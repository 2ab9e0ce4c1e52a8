"""Pretrained classifiers say the same in every runtime, on real images."""
