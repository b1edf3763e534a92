"""The parts of TensorFlow that run models, without the rest of the package: a third of the time to import it all.

`import tensorflow` runs a module that imports every part, of which most are for those who make models. This is for
processes that run models and nothing else, which are also those that use no devices of TensorFlow's plug-ins.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType, SimpleNamespace
from typing import Any


class _Partial(ModuleType):
    """The package before its own module has run, which happens when somebody asks for more than its submodules."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_whole(self), name)


def import_parts() -> Any:
    """Import the parts; gives an object that has of `tensorflow` what the backend uses. With a TensorFlow that has its
    parts elsewhere, all of it is imported. Raises what `import tensorflow` does."""
    if "tensorflow" in sys.modules or (spec := find_spec("tensorflow")) is None:
        import tensorflow

        return tensorflow
    package = module_from_spec(spec)
    package.__class__ = _Partial
    sys.modules["tensorflow"] = package
    try:
        try:
            return _parts()
        except (ImportError, AttributeError):
            return _whole(package)
    except BaseException:
        sys.modules.pop("tensorflow", None)
        raise


def _parts() -> Any:
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.protobuf.config_pb2 import ConfigProto
    from tensorflow.python.client.session import Session
    from tensorflow.python.framework import config, dtypes, importer, ops, tensor_util
    from tensorflow.python.ops import array_ops, gen_resource_variable_ops as of_resources, gen_state_ops as of_state

    return SimpleNamespace(
        Graph=ops.Graph,
        as_dtype=dtypes.as_dtype,
        compat=SimpleNamespace(
            v1=SimpleNamespace(
                ConfigProto=ConfigProto, GraphDef=GraphDef, Session=Session, placeholder=array_ops.placeholder
            )
        ),
        config=SimpleNamespace(list_physical_devices=config.list_physical_devices),
        graph_util=SimpleNamespace(import_graph_def=importer.import_graph_def),
        identity=array_ops.identity,
        make_ndarray=tensor_util.MakeNdarray,
        raw_ops=SimpleNamespace(
            Assign=of_state.Assign,
            AssignVariableOp=of_resources.AssignVariableOp,
            IsVariableInitialized=of_state.IsVariableInitialized,
            ReadVariableOp=of_resources.ReadVariableOp,
            VarIsInitializedOp=of_resources.VarIsInitializedOp,
        ),
    )


def _whole(package: ModuleType) -> ModuleType:
    """Run the package's own module, which imports all of its parts."""
    package.__class__ = ModuleType
    spec = package.__spec__
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(package)
    return package
