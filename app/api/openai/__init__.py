"""OpenAI's embeddings protocol: `POST /v1/embeddings`, `GET /v1/models`."""
