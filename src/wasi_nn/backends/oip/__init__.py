"""Models on servers that speak the Open Inference Protocol over gRPC, such as Triton, KServe and `wasi-nn serve`."""
