"""Guests that answer HTTP requests: components by `wasi:http/incoming-handler`, core modules by CGI.

Each request gets a sandbox of its own, or a component answers several in one (`http_instance`). The bytes of its body
and of the answer's go through two pipes, whose one ends the server has; a pipe that is full or empty makes the guest
wait, and no other one.
"""
