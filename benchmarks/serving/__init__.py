"""A server under load: its process, its clients, and what its answers have to be."""
