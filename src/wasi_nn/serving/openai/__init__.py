"""The calls of OpenAI's client library, for language models: texts, conversations and embeddings, over HTTP."""
