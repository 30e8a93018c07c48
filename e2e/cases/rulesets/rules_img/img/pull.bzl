"""A base without its layers."""

load("@oci_pull_all//oci:defs.bzl", "oci_pull")

pull = oci_pull
