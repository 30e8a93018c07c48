"""The module extension for base images."""

load("//oci/private/extensions:oci.bzl", _oci = "oci")

oci = _oci
