"""HTTP/1.1 on a socket: uvicorn's parser and cycles, with everything a stranger sends bounded."""
