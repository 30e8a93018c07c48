"""The public rules and providers."""

load("//oci/private:image.bzl", _oci_image = "oci_image")
load("//oci/private:image_index.bzl", _oci_image_index = "oci_image_index")
load("//oci/private:image_layer.bzl", _oci_image_layer = "oci_image_layer")
load("//oci/private:image_layout.bzl", _oci_image_layout = "oci_image_layout")
load("//oci/private:pull.bzl", _oci_pull = "oci_pull")
load("//oci/private:pull_all.bzl", _oci_pull_all = "oci_pull_all")
load("//oci/private:toolchain.bzl", _oci_pull_all_toolchain = "oci_pull_all_toolchain")
load(
    ":providers.bzl",
    _OCIDescriptorInfo = "OCIDescriptorInfo",
    _OCIImageIndexInfo = "OCIImageIndexInfo",
    _OCIImageInfo = "OCIImageInfo",
    _OCIPlatformInfo = "OCIPlatformInfo",
    _OCIPulledImageInfo = "OCIPulledImageInfo",
    _OCIToolInfo = "OCIToolInfo",
)

oci_image = _oci_image
oci_image_index = _oci_image_index
oci_image_layer = _oci_image_layer
oci_image_layout = _oci_image_layout
oci_pull = _oci_pull
oci_pull_all = _oci_pull_all
oci_pull_all_toolchain = _oci_pull_all_toolchain

OCIDescriptorInfo = _OCIDescriptorInfo
OCIImageIndexInfo = _OCIImageIndexInfo
OCIImageInfo = _OCIImageInfo
OCIPlatformInfo = _OCIPlatformInfo
OCIPulledImageInfo = _OCIPulledImageInfo
OCIToolInfo = _OCIToolInfo
