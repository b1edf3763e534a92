"""Language models on servers that speak OpenAI's API, such as vLLM, llama.cpp's server and `wasi-nn serve`."""
