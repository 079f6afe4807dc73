"""Time and tasks: sources, mailboxes, the one device thread, questions, MQTT, HTTP. Knows no tensors."""
