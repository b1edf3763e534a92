"""Requests of guests over HTTP: `Outgoing` makes those of one guest.

The guest's bodies are streams of the engine, which gives them only together with requests of its own. So for each
request of a guest the engine makes one to this process (`engine_exchanges`), over a connection of this machine that a
secret guards (`engine_connection`). A thread (`relay`) passes both bodies between that connection and one to a place
that the operator has listed (`connection`).
"""
