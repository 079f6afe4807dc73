"""Memory layouts: plain tensors in, plain tensors out. The only door is `kernels.ops`; this file imports nothing."""
