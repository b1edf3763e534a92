"""Serves named graphs over a network: `wasi-nn serve`.

The core knows no protocol: named arrays come in, wait for a turn, are computed on a thread (`computing`), and named
arrays go out (`service`). `observing` has the log, metrics and traces of requests. Protocols are at the edge, and turn
bytes into named arrays: `oip` has the Open Inference Protocol, over HTTP (`http`) and over gRPC, and `openai` the calls
of OpenAI's client for the `texts` of language models. The extra `serve` installs their libraries; nothing outside of
this package imports them.
"""
