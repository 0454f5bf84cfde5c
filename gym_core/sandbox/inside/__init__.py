"""What runs inside the sandbox: plain standard library, one script (`zygote.py`) with its neighbours, no secrets."""
