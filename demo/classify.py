"""`make demo-image`: a guest classifies photographs with EfficientNet-Lite0.

The guest is `guests/c/classify.c`: it scales the pictures, converts them to the model's input, and prints the five best
labels.
"""

from __future__ import annotations

import models

from demo import FOLDER, run


def main() -> None:
    """Run the demo."""
    print(
        "EfficientNet-Lite0 (its published weights, exported to ONNX once) and a guest in C that classifies pictures.\n"
    )
    network = models.efficientnet()
    model, labels = (str(path.relative_to(FOLDER)) for path in (network.model, network.labels))
    pictures = [str(path.relative_to(FOLDER)) for path in models.photographs().values()]
    run(
        "--graph",
        f"net={model}",
        "--dir",
        ".",
        "guests/c/classify.wasm",
        "--graph",
        "net",
        "--labels",
        labels,
        *pictures,
    )


if __name__ == "__main__":
    main()
