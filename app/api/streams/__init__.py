"""Training streams: many train steps over one connection, acknowledged as they become durable."""
