"""Guests as handlers of HTTP requests: components by `wasi:http/incoming-handler`, and core modules by CGI.

`Handlers` has the guests of the file of graphs. `Endpoint` answers a request by one of them: it makes a `GuestCall`,
which runs the guest on a thread, and passes the bytes of both bodies between the client and the guest's two pipes.
"""
