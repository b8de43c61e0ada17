"""The servers that Slimvec is measured against, each a process of its own."""
