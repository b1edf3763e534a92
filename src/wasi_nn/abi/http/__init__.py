"""`wasi:http` for guests that answer requests: components that export `wasi:http/incoming-handler`.

The engine's C API has `wasi:http` for guests that make requests only. So this package defines all of
`wasi:http/types` itself, in each version 0.2.x, over an `Exchange`: one request and its answer. The bytes of bodies
don't come here: they go through streams of the engine (`guests.http`).
"""
