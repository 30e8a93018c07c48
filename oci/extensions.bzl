"""The module extension for base images."""

load("//oci/private:oci_extension.bzl", _oci = "oci")

oci = _oci
