"""Where untrusted programs run: without network, rights, files or neighbours, within limits, one process tree each.

    with open_sandbox() as sandbox:
        run = sandbox.run(python_program("print(int(input()) + 1)"), stdin=b"41\n")
        run.ended, run.stdout      # Ended.OK, b"42\n"

`choose.py` opens the strongest provider that works here: bubblewrap, Docker, or plain limits (weak, and says so).
All start the same zygote (`inside/`), which forks one process for each run. `battery.py` runs a program against many
inputs.
"""
