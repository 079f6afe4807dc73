"""Longwatch over HTTP: the API, the OpenAI-compatible chat and the dashboard."""
