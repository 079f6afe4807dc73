"""Questions, answers and states over MQTT: version 5 preferred, 3.1.1 accepted, any broker."""
