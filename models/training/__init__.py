"""The shipped recipe: a small LLaVA-OneVision checkpoint from nothing but the simulator.

Three stages, each resumable from the folder it writes: `tower` (dense labels per cell), `tokens` (runs through the very
perception that is deployed, cached as rows), `language` (cross-dynamics attention and language model on composed
histories). The simulator is handed in by `run_stream.py`, since this room knows no sources.
"""
