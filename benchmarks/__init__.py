"""What the service costs, beside a plain FastAPI service and a server that only echoes."""
