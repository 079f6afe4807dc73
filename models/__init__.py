"""Tensors: encoders, token base, dynamics map, KV memory, answerer, training. Knows no tasks and no clocks."""
