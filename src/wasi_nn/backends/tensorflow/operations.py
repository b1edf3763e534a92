"""Finds the operations that a TensorFlow graph may run, and refuses those that untrusted models may not have.

TensorFlow has some 1900 operations, and a model may use them all: to read and write files, to call Python, to open
sockets, to end the process. The operations listed here were reviewed one by one: they compute, and keep their state in
the model's own session. An untrusted model may use no other operation, so none that a later TensorFlow adds either.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from wasi_nn.backends.formats.call_bounds import require_bounded
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.settings import BY_PATH


@dataclass
class Reach:
    """What TensorFlow may run to compute some tensors of a graph.

    `nodes` are the names of the graph's nodes. `operations` has every operation of these nodes and of the functions
    that they call, each with the name of a node that has it.
    """

    nodes: set[str]
    operations: dict[str, str]


def reach(graph: Any, roots: Iterable[str], checkpoint: str = "") -> Reach:
    """What TensorFlow may run of a GraphDef to compute these tensors, or to run these nodes.

    Of a function that is called, all nodes count. `checkpoint` is the tensor with the path of the model's own
    variables: operations that restore them from that path aren't listed. Raises `NNError` with `too-large` for a graph
    that is too large to look through.
    """
    return Walk(graph).reach(roots, checkpoint)


def require_harmless(operations: Mapping[str, str]) -> None:
    """Raise `NNError` with `security` for an operation that isn't listed, and might reach out of the model."""
    for operation, node in operations.items():
        if operation not in ALLOWED:
            raise NNError(
                ErrorCode.SECURITY,
                f"the model has the operation {operation!r} (node {node!r}), which is refused in models from bytes: "
                f"it may reach files or more; {BY_PATH}",
            )


def require_bounded_functions(graph: Any) -> None:
    """Raise `NNError` with `too-large` for a GraphDef whose functions call each other too often, and `ValueError` for
    one whose functions do so in a circle: TensorFlow copies each function into the places of its calls."""
    functions = {function.signature.name: _calls(function.node_def) for function in graph.library.function}
    require_bounded(functions, _calls(graph.node))


def _calls(nodes: Iterable[Any]) -> Counter[str]:
    """The number of the nodes' calls by function. Operations count too, since a function may be called like one."""
    return Counter(name for node in nodes for name in (node.op, *_called(node.attr)))


def keeps_state(operations: Iterable[str]) -> bool:
    """Whether any of these operations may keep state from one run to the next."""
    return not _COMPUTE.issuperset(operations)


def changes(operations: Mapping[str, str]) -> dict[str, str]:
    """Those of these operations that change variables, tables or generators."""
    return {name: node for name, node in operations.items() if name in _KEEP_STATE or _TRAINS.match(name)}


_TRAINS = re.compile("(Resource)?(Sparse)?Apply|Assign")  # how the operations of optimizers begin
MAX_STEPS = 2_000_000  # nodes, inputs and attributes
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_RESTORE = "RestoreV2"


class Walk:
    """Walks over the nodes of a graph that are needed, and over those of the functions that they call: for so many
    `graphs` of the largest size in all."""

    def __init__(self, graph: Any, graphs: int = 1) -> None:
        self._nodes: dict[str, list[Any]] = {}
        for node in graph.node:
            self._nodes.setdefault(node.name, []).append(node)
        self._functions: dict[str, list[Any]] = {}
        for function in graph.library.function:
            self._functions.setdefault(function.signature.name, []).append(function)
        # Functions with `api_implements` are always walked over, since TensorFlow may call one in place of another.
        self._always: list[tuple[str, frozenset[int]]] = [
            (function.signature.name, frozenset())
            for function in graph.library.function
            if "api_implements" in function.attr
        ]
        self._operations: dict[str, str] = {}
        # Functions to walk over, each with the positions of those arguments that are the checkpoint's path.
        self._calls: list[tuple[str, frozenset[int]]] = []
        self._steps, self._most = 0, graphs * MAX_STEPS

    def reach(self, roots: Iterable[str], checkpoint: str = "") -> Reach:
        """See `reach`."""
        paths = {checkpoint, checkpoint.removesuffix(":0")} - {""}
        self._operations, self._calls = {}, [*self._always]
        todo = [*map(node_name, roots)]
        seen = set(todo)
        while todo:
            for node in self._nodes.get(todo.pop(), ()):
                self._look_at(node, paths)
                needed = set(map(node_name, node.input)) - seen
                todo += needed
                seen |= needed
        self._look_through_functions()
        return Reach(seen, self._operations)

    def _look_through_functions(self) -> None:
        seen = set(self._calls)
        todo = self._calls
        while todo:
            name, places = todo.pop()
            self._calls = []
            if name not in self._functions:
                self._operations.setdefault(name, name)
            for function in self._functions.get(name, ()):
                arguments = function.signature.input_arg
                self._count(len(arguments))
                single = not any(argument.number_attr or argument.type_list_attr for argument in arguments)
                paths = {argument.name for place, argument in enumerate(arguments) if single and place in places}
                for node in function.node_def:
                    self._look_at(node, paths)
            new = set(self._calls) - seen
            todo += new
            seen |= new

    def _look_at(self, node: Any, paths: Set[str]) -> None:
        """Note a node's operation and calls. `paths` are the tensors with the checkpoint's path."""
        called = list(_called(node.attr))
        self._count(1 + len(node.input) + len(node.attr) + len(called))
        places = frozenset(place for place, name in enumerate(node.input) if name in paths)
        if node.op in self._functions:
            self._calls.append((node.op, places))
        elif node.op != _RESTORE or 0 not in places:
            self._operations.setdefault(node.op, node.name)
        for name in called:
            self._calls.append((name, places if node.op in _CALLS else frozenset()))

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > self._most:
            message = f"the model's graph is too large to be checked: more than {self._most} steps"
            raise NNError(ErrorCode.TOO_LARGE, message)


def node_name(name: str) -> str:
    """The name of the node in the name of a tensor (`x:1`), of a control input (`^x`), or of a node."""
    return name.removeprefix("^").partition(":")[0]


def _called(attributes: Mapping[str, Any]) -> Iterator[str]:
    """The functions that attributes name, and that the attributes of these name in turn."""
    todo = list(attributes.values())
    while todo:
        value = todo.pop()
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
                todo += function.attr.values()


# Operations that compute, read the model's variables and tables, or draw random numbers.
_COMPUTING = """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation All Angle
    Any ApproximateEqual ArgMax ArgMin AsString Asin Asinh Atan Atan2 Atanh AudioSpectrogram AvgPool AvgPool3D
    AvgPool3DGrad AvgPoolGrad BandedTriangularSolve BatchCholesky BatchCholeskyGrad BatchFFT BatchFFT2D BatchFFT3D
    BatchIFFT BatchIFFT2D BatchIFFT3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchMatrixBandPart
    BatchMatrixDeterminant BatchMatrixDiag BatchMatrixDiagPart BatchMatrixInverse BatchMatrixSetDiag
    BatchMatrixSolve BatchMatrixSolveLs BatchMatrixTriangularSolve BatchNormWithGlobalNormalization
    BatchNormWithGlobalNormalizationGrad BatchSelfAdjointEig BatchSelfAdjointEigV2 BatchSvd BatchToSpace
    BatchToSpaceND BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e
    BesselY0 BesselY1 Betainc BiasAdd BiasAddGrad Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor BlockLSTM
    BlockLSTMGrad BlockLSTMGradV2 BlockLSTMV2 BroadcastArgs BroadcastGradientArgs BroadcastTo Bucketize
    CSRSparseMatrixComponents CSRSparseMatrixToDense CSRSparseMatrixToSparseTensor CTCBeamSearchDecoder
    CTCGreedyDecoder CTCLoss CTCLossV2 Cast Ceil Cholesky CholeskyGrad ClipByValue CombinedNonMaxSuppression Complex
    ComplexAbs Concat ConcatOffset ConcatV2 Conj ConjugateTranspose Const ControlTrigger Conv Conv2D
    Conv2DBackpropFilter Conv2DBackpropFilterV2 Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D
    Conv3DBackpropFilter Conv3DBackpropFilterV2 Conv3DBackpropInput Conv3DBackpropInputV2 Cos Cosh CropAndResize
    CropAndResizeGradBoxes CropAndResizeGradImage Cross Cumprod Cumsum CumulativeLogsumexp DataFormatDimMap
    DataFormatVecPermute Dawsn DecodeAndCropJpeg DecodeBase64 DecodeBmp DecodeCSV DecodeCompressed DecodeGif
    DecodeImage DecodeJpeg DecodeJxl DecodePaddedRaw DecodePng DecodeRaw DecodeWav DecodeWebP DenseBincount
    DenseCountSparseOutput DenseToCSRSparseMatrix DenseToDenseSetOperation DenseToSparseSetOperation DepthToSpace
    DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput Dequantize
    DeserializeManySparse DeserializeSparse Diag DiagPart Digamma Dilation2D Dilation2DBackpropFilter
    Dilation2DBackpropInput Div DivNoNan DrawBoundingBoxes DrawBoundingBoxesV2 DynamicPartition DynamicStitch
    EditDistance Eig Einsum Elu EluGrad EmptyTensorList EmptyTensorMap EncodeBase64 EncodeJpeg
    EncodeJpegVariableQuality EncodePng EncodeWav EnsureShape Enter Equal Erf Erfc Erfinv EuclideanNorm Exit Exp
    ExpandDims Expint Expm1 ExtractGlimpse ExtractGlimpseV2 ExtractImagePatches ExtractJpegShape
    ExtractVolumePatches FFT FFT2D FFT3D FFTND FakeParam FakeQuantWithMinMaxArgs FakeQuantWithMinMaxArgsGradient
    FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsGradient FakeQuantWithMinMaxVarsPerChannel
    FakeQuantWithMinMaxVarsPerChannelGradient Fill Fingerprint Floor FloorDiv FloorMod For FractionalAvgPool
    FractionalAvgPoolGrad FractionalMaxPool FractionalMaxPoolGrad FresnelCos FresnelSin FusedBatchNorm
    FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D
    FusedResizeAndPadConv2D GRUBlockCell GRUBlockCellGrad Gather GatherNd GatherV2 Greater GreaterEqual HSVToRGB
    HistogramFixedWidth HistogramSummary IFFT IFFT2D IFFT3D IFFTND IRFFT IRFFT2D IRFFT3D IRFFTND Identity IdentityN
    Igamma IgammaGradA Igammac Imag ImageProjectiveTransformV2 ImageProjectiveTransformV3 InTopK InTopKV2 Inv
    InvGrad Invert InvertPermutation IsFinite IsInf IsNan IsotonicRegression KthOrderStatistic L2Loss LRN LRNGrad
    LSTMBlockCell LSTMBlockCellGrad LeakyRelu LeakyReluGrad LeftShift Less LessEqual Lgamma LinSpace ListDiff Log
    Log1p LogMatrixDeterminant LogSoftmax LogicalAnd LogicalNot LogicalOr LookupTableExport LookupTableFind
    LookupTableSize LoopCond LowerBound Lu MakeUnique MapDefun MatMul MatrixBandPart MatrixDeterminant MatrixDiag
    MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixExponential MatrixInverse
    MatrixLogarithm MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve MatrixSolveLs MatrixSquareRoot
    MatrixTriangularSolve Max MaxPool MaxPool3D MaxPool3DGrad MaxPool3DGradGrad MaxPoolGrad MaxPoolGradGrad
    MaxPoolGradGradV2 MaxPoolGradGradWithArgmax MaxPoolGradV2 MaxPoolGradWithArgmax MaxPoolV2 MaxPoolWithArgmax
    Maximum Mean Merge MergeSummary Mfcc Min Minimum MirrorPad MirrorPadGrad Mod Mul MulNoNan Ndtri Neg NextAfter
    NextIteration NoOp NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
    NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps NotEqual NthElement OneHot OnesLike Pack Pad PadV2
    ParallelDynamicStitch ParseExample ParseExampleV2 ParseSequenceExample ParseSequenceExampleV2 ParseSingleExample
    ParseSingleSequenceExample ParseTensor PartitionedCall Placeholder PlaceholderV2 PlaceholderWithDefault
    Polygamma PopulationCount Pow PreventGradient Prod Qr QuantizeAndDequantize QuantizeAndDequantizeV2
    QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeAndDequantizeV4Grad QuantizeDownAndShrinkRange
    QuantizeV2 QuantizedAdd QuantizedAvgPool QuantizedBatchNormWithGlobalNormalization QuantizedBiasAdd
    QuantizedConcat QuantizedConcatV2 QuantizedConv2D QuantizedConv2DAndRelu QuantizedConv2DAndReluAndRequantize
    QuantizedConv2DAndRequantize QuantizedConv2DPerChannel QuantizedConv2DWithBias QuantizedConv2DWithBiasAndRelu
    QuantizedConv2DWithBiasAndReluAndRequantize QuantizedConv2DWithBiasAndRequantize
    QuantizedConv2DWithBiasSignedSumAndReluAndRequantize QuantizedConv2DWithBiasSumAndRelu
    QuantizedConv2DWithBiasSumAndReluAndRequantize QuantizedDepthwiseConv2D QuantizedDepthwiseConv2DWithBias
    QuantizedDepthwiseConv2DWithBiasAndRelu QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize
    QuantizedInstanceNorm QuantizedMatMul QuantizedMatMulWithBias QuantizedMatMulWithBiasAndDequantize
    QuantizedMatMulWithBiasAndRelu QuantizedMatMulWithBiasAndReluAndRequantize QuantizedMatMulWithBiasAndRequantize
    QuantizedMaxPool QuantizedMul QuantizedRelu QuantizedRelu6 QuantizedReluX QuantizedReshape
    QuantizedResizeBilinear RFFT RFFT2D RFFT3D RFFTND RGBToHSV RaggedBincount RaggedCountSparseOutput RaggedCross
    RaggedFillEmptyRows RaggedFillEmptyRowsGrad RaggedGather RaggedRange RaggedTensorFromVariant
    RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant RaggedTensorToVariantGradient RandomGammaGrad
    RandomIndexShuffle Range Rank Real RealDiv Reciprocal ReciprocalGrad ReduceJoin RegexFullMatch RegexReplace Relu
    Relu6 Relu6Grad ReluGrad RequantizationRange RequantizationRangePerChannel Requantize RequantizePerChannel
    Reshape ResizeArea ResizeBicubic ResizeBicubicGrad ResizeBilinear ResizeBilinearGrad ResizeNearestNeighbor
    ResizeNearestNeighborGrad Reverse ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt RsqrtGrad
    ScalarSummary ScaleAndTranslate ScaleAndTranslateGrad ScatterNd ScatterNdNonAliasingAdd SegmentMax SegmentMaxV2
    SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum SegmentSumV2 Select SelectV2
    SelfAdjointEig SelfAdjointEigV2 Selu SeluGrad SerializeManySparse SerializeSparse SerializeTensor SetSize Shape
    ShapeN ShardedFilename Sigmoid SigmoidGrad Sign Sin Sinh Size Slice SobolSample Softmax
    SoftmaxCrossEntropyWithLogits Softplus SoftplusGrad Softsign SoftsignGrad SpaceToBatch SpaceToBatchND
    SpaceToDepth SparseAdd SparseAddGrad SparseBincount SparseConcat SparseCountSparseOutput SparseCross
    SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul SparseFillEmptyRows
    SparseFillEmptyRowsGrad SparseMatMul SparseMatrixAdd SparseMatrixMatMul SparseMatrixMul SparseMatrixNNZ
    SparseMatrixOrderingAMD SparseMatrixSoftmax SparseMatrixSoftmaxGrad SparseMatrixSparseCholesky
    SparseMatrixSparseMatMul SparseMatrixTranspose SparseMatrixZeros SparseReduceMax SparseReduceMaxSparse
    SparseReduceSum SparseReduceSumSparse SparseReorder SparseReshape SparseSegmentMean SparseSegmentMeanGrad
    SparseSegmentMeanGradV2 SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNGrad
    SparseSegmentSqrtNGradV2 SparseSegmentSqrtNWithNumSegments SparseSegmentSum SparseSegmentSumGrad
    SparseSegmentSumGradV2 SparseSegmentSumWithNumSegments SparseSlice SparseSliceGrad SparseSoftmax
    SparseSoftmaxCrossEntropyWithLogits SparseSparseMaximum SparseSparseMinimum SparseSplit SparseTensorDenseAdd
    SparseTensorDenseMatMul SparseTensorToCSRSparseMatrix SparseToDense SparseToSparseSetOperation Spence Split
    SplitV Sqrt SqrtGrad Square SquaredDifference Squeeze StatelessCase StatelessIf StatelessMultinomial
    StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
    StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
    StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
    StatelessSampleDistortedBoundingBox StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2
    StatelessWhile StaticRegexFullMatch StaticRegexReplace StopGradient StridedSlice StridedSliceGrad StringFormat
    StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket
    StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Sub Substr Sum Svd Switch Tan Tanh
    TanhGrad TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape TensorListFromTensor
    TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListPushBackBatch
    TensorListReserve TensorListResize TensorListScatter TensorListScatterIntoExistingList TensorListScatterV2
    TensorListSetItem TensorListSplit TensorListStack TensorMapErase TensorMapHasKey TensorMapInsert TensorMapLookup
    TensorMapSize TensorMapStackKeys TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
    TensorScatterUpdate TensorSummary TensorSummaryV2 Tile TileGrad ToBool TopK TopKUnique TopKV2 TopKWithUnique
    Transpose TridiagonalMatMul TridiagonalSolve TruncateDiv TruncateMod UnicodeDecode UnicodeDecodeWithOffsets
    UnicodeEncode UnicodeScript UnicodeTranscode UniformDequantize UniformQuantize UniformQuantizedAdd
    UniformQuantizedClipByValue UniformQuantizedConvolution UniformQuantizedConvolutionHybrid UniformQuantizedDot
    UniformQuantizedDotHybrid UniformRequantize Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack
    UnravelIndex UnsortedSegmentJoin UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum
    UpperBound Where WindowOp Xdivy Xlog1py Xlogy ZerosLike Zeta
    AnonymousHashTable AnonymousMutableDenseHashTable AnonymousMutableHashTable AnonymousMutableHashTableOfTensors
    Assert Case CheckNumerics CheckNumericsV2 CudnnRNN CudnnRNNCanonicalToParams CudnnRNNCanonicalToParamsV2
    CudnnRNNParamsSize CudnnRNNV2 CudnnRNNV3 DeviceIndex DisableCopyOnRead Empty GuaranteeConst HashTable
    HashTableV2 If IsVariableInitialized LookupTableExportV2 LookupTableFindV2 LookupTableSizeV2 Multinomial
    MutableDenseHashTable MutableDenseHashTableV2 MutableHashTable MutableHashTableOfTensors
    MutableHashTableOfTensorsV2 MutableHashTableV2 ParameterizedTruncatedNormal RandomCrop RandomGamma RandomPoisson
    RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt ReadVariableOp ResourceGather
    ResourceGatherNd SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 StatefulPartitionedCall
    StatelessRandomGetAlg TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3
    TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TruncatedNormal
    VarHandleOp VarIsInitializedOp Variable VariableShape VariableV2 While
"""

# Operations that change the model's variables, tables or generators.
_KEEPING_STATE = """
    Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp InitializeTable
    InitializeTableV2 LookupTableImport LookupTableImportV2 LookupTableInsert LookupTableInsertV2
    LookupTableRemoveV2 NonDeterministicInts ResourceScatterAdd ResourceScatterDiv ResourceScatterMax
    ResourceScatterMin ResourceScatterMul ResourceScatterNdAdd ResourceScatterNdMax ResourceScatterNdMin
    ResourceScatterNdSub ResourceScatterNdUpdate ResourceScatterSub ResourceScatterUpdate ResourceStridedSliceAssign
    RngReadAndSkip RngSkip ScatterAdd ScatterDiv ScatterMax ScatterMin ScatterMul ScatterNdAdd ScatterNdSub
    ScatterNdUpdate ScatterSub ScatterUpdate StatefulRandomBinomial StatefulStandardNormal StatefulStandardNormalV2
    StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt StatefulUniformInt StridedSliceAssign
"""

_COMPUTE, _KEEP_STATE = frozenset(_COMPUTING.split()), frozenset(_KEEPING_STATE.split())
ALLOWED = _COMPUTE | _KEEP_STATE
