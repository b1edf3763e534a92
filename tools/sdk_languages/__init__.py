"""The SDKs for guests: what they share, and what `tools/make_sdk.py` writes and builds for each language.

    table.py      the words and numbers of both ABIs, read from the host
    language.py   Language: the files of numbers and the guests of one SDK
    c.py, ...     one module a language, each with a `LANGUAGE`

A further language is a module here, a folder in `sdk`, and a line in `LANGUAGES`.
"""
