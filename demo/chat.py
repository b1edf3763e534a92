"""`make demo-chat`: a guest chats with SmolLM2, a small language model, and prints the words while they are generated.

The guest is `guests/c/chat.c`. It uses WasmEdge's functions, which give a text piece by piece.
"""

from __future__ import annotations

import models

from demo import FOLDER, run

OPTIONS = '{"temp": 0, "n-predict": 80, "ctx-size": 2048}'
MESSAGES = ("What is the capital of France?", "And what is WebAssembly, in one sentence?")


def main() -> None:
    """Run the demo."""
    print("SmolLM2-135M (98 MB, from a package on PyPI) and a guest in C that chats with it.\n")
    model = models.smollm2().relative_to(FOLDER)
    run("--graph", f"smollm2={model}", "guests/c/chat.wasm", "--graph", "smollm2", "--options", OPTIONS, *MESSAGES)
    print("To chat with it yourself, leave out the last two arguments.")


if __name__ == "__main__":
    main()
