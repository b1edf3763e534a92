"""Guests in OCI registries: pulled by reference into a cache, and pushed as artifacts.

An artifact is laid out as other WebAssembly tools lay it out: one layer with the guest, and a configuration that says
what it is. The registry's protocol and the user's credentials are the package oras's; digests and signatures
are checked here.
"""

from __future__ import annotations

from wasi_nn.oci.pulling import pull_files, pull_guest
from wasi_nn.oci.pushing import push_guest
from wasi_nn.oci.reference import SCHEME, Reference

__all__ = ["SCHEME", "Reference", "pull_files", "pull_guest", "push_guest"]
