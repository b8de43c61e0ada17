"""`python -m app` is `slimvec`."""

from app.cli import main

main()
