"""The bounded KV memory: blocks, their rendering, tiers, pruning, recall, budget and snapshot."""
