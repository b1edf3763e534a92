"""A model that learns handwritten digits, made with TensorFlow: as a SavedModel and as a TensorFlow Lite model.

The digits are scikit-learn's: 1797 images of 8 x 8 pixels. The model is a logistic regression, with the signatures
`train` (x: f32[?, 64], y: i64[?] -> loss: f32) and `infer` (x -> probabilities: f32[?, 10]).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.tensorflow.backend import import_tensorflow

if TYPE_CHECKING:
    from wasi_nn.types import Array

import_tensorflow()  # without its notices

import tensorflow as tf  # noqa: E402

STEPS = 80  # of training, which take the accuracy from a tenth to more than nine tenths
VARIABLES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "weights": ("float32", (64, 10)),
    "bias": ("float32", (10,)),
    "steps": ("int64", ()),
}
"""The types and dimensions of the model's variables."""

_IMAGES = tf.TensorSpec([None, 64], tf.float32, "x")


class Digits(tf.Module):  # type: ignore[misc]
    """A softmax of one layer, and one step of gradient descent on all the images that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.zeros([64, 10]), name="weights")
        self.bias = tf.Variable(tf.zeros([10]), name="bias")
        self.steps = tf.Variable(tf.zeros([], tf.int64), name="steps")

    @tf.function(input_signature=[_IMAGES])  # type: ignore[untyped-decorator]
    def infer(self, x: Any) -> dict[str, Any]:
        return {"probabilities": tf.nn.softmax(tf.matmul(x, self.weights) + self.bias)}

    @tf.function(input_signature=[_IMAGES, tf.TensorSpec([None], tf.int64, "y")])  # type: ignore[untyped-decorator]
    def train(self, x: Any, y: Any) -> dict[str, Any]:
        probabilities = tf.nn.softmax(tf.matmul(x, self.weights) + self.bias)
        wanted, count = tf.one_hot(y, 10), tf.cast(tf.shape(x)[0], tf.float32)
        error = (probabilities - wanted) / count
        self.weights.assign_sub(tf.matmul(x, error, transpose_a=True))
        self.bias.assign_sub(tf.reduce_sum(error, 0))
        self.steps.assign_add(1)
        return {"loss": -tf.reduce_sum(wanted * tf.math.log(probabilities + 1e-9)) / count}


def saved(folder: Path) -> Path:
    """The model as a SavedModel."""
    module = Digits()
    tf.saved_model.save(module, str(folder), signatures={"train": module.train, "infer": module.infer})
    return folder


def tflite(folder: Path) -> bytes:
    """The model in `folder` as a TensorFlow Lite model of builtin operators only."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.experimental_enable_resource_variables = True
    content: bytes = converter.convert()
    return content


@cache
def images() -> tuple[Array, Array]:
    """The images, f32[1797, 64], and their digits, i64[1797]."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32), digits.astype(np.int64)


def for_training() -> dict[str, Array]:
    """The inputs of `train`: three of each four images."""
    x, y = images()
    chosen = np.arange(len(y)) % 4 != 0
    return {"x": x[chosen], "y": y[chosen]}


def for_inference() -> dict[str, Array]:
    """The input of `infer`: the other images."""
    return {"x": images()[0][::4]}


def accuracy(probabilities: Array) -> float:
    """How many of the images of `for_inference` the model tells, as a fraction."""
    return float((probabilities.argmax(1) == images()[1][::4]).mean())
