"""The public rules and providers."""

load("//oci/private/repositories:oci_pull.bzl", _oci_pull = "oci_pull")
load("//oci/private/repositories:oci_pull_all.bzl", _oci_pull_all = "oci_pull_all")
load("//oci/private/rules:grype_scanner.bzl", _grype_scanner = "grype_scanner")
load("//oci/private/rules:oci_artifact_files.bzl", _oci_artifact_files = "oci_artifact_files")
load("//oci/private/rules:oci_complete_layout.bzl", _oci_complete_layout = "oci_complete_layout")
load("//oci/private/rules:oci_image.bzl", _oci_image = "oci_image")
load("//oci/private/rules:oci_image_archive.bzl", _oci_image_archive = "oci_image_archive")
load("//oci/private/rules:oci_image_file.bzl", _oci_image_file = "oci_image_file")
load("//oci/private/rules:oci_image_index.bzl", _oci_image_index = "oci_image_index")
load("//oci/private/rules:oci_image_layer.bzl", _oci_image_layer = "oci_image_layer")
load("//oci/private/rules:oci_image_layout.bzl", _oci_image_layout = "oci_image_layout")
load("//oci/private/rules:oci_image_rootfs.bzl", _oci_image_rootfs = "oci_image_rootfs")
load("//oci/private/rules:oci_layout_test.bzl", _oci_layout_test = "oci_layout_test")
load("//oci/private/rules:oci_load.bzl", _oci_load = "oci_load")
load("//oci/private/rules:oci_pull_all_toolchain.bzl", _oci_pull_all_toolchain = "oci_pull_all_toolchain")
load("//oci/private/rules:oci_push.bzl", _oci_push = "oci_push")
load("//oci/private/rules:oci_sbom.bzl", _oci_sbom = "oci_sbom")
load("//oci/private/rules:oci_sbom_toolchain.bzl", _oci_sbom_toolchain = "oci_sbom_toolchain")
load("//oci/private/rules:oci_scan_policy.bzl", _oci_scan_policy = "oci_scan_policy")
load("//oci/private/rules:oci_scan_test.bzl", _oci_scan_test = "oci_scan_test")
load("//oci/private/rules:trivy_scanner.bzl", _trivy_scanner = "trivy_scanner")
load(
    ":providers.bzl",
    _OCIArtifactFilesInfo = "OCIArtifactFilesInfo",
    _OCIArtifactInfo = "OCIArtifactInfo",
    _OCIDescriptorInfo = "OCIDescriptorInfo",
    _OCIImageIndexInfo = "OCIImageIndexInfo",
    _OCIImageInfo = "OCIImageInfo",
    _OCIPlatformInfo = "OCIPlatformInfo",
    _OCIPulledFromInfo = "OCIPulledFromInfo",
    _OCIPulledImageInfo = "OCIPulledImageInfo",
    _OCIRootfsInfo = "OCIRootfsInfo",
    _OCISBOMGeneratorInfo = "OCISBOMGeneratorInfo",
    _OCIScanInfo = "OCIScanInfo",
    _OCIScanPolicyInfo = "OCIScanPolicyInfo",
    _OCIScannerInfo = "OCIScannerInfo",
    _OCIToolInfo = "OCIToolInfo",
)

grype_scanner = _grype_scanner
oci_artifact_files = _oci_artifact_files
oci_complete_layout = _oci_complete_layout
oci_image = _oci_image
oci_image_archive = _oci_image_archive
oci_image_file = _oci_image_file
oci_image_index = _oci_image_index
oci_image_layer = _oci_image_layer
oci_image_layout = _oci_image_layout
oci_image_rootfs = _oci_image_rootfs
oci_layout_test = _oci_layout_test
oci_load = _oci_load
oci_pull = _oci_pull
oci_pull_all = _oci_pull_all
oci_pull_all_toolchain = _oci_pull_all_toolchain
oci_push = _oci_push
oci_sbom = _oci_sbom
oci_sbom_toolchain = _oci_sbom_toolchain
oci_scan_policy = _oci_scan_policy
oci_scan_test = _oci_scan_test
trivy_scanner = _trivy_scanner

OCIArtifactFilesInfo = _OCIArtifactFilesInfo
OCIArtifactInfo = _OCIArtifactInfo
OCIDescriptorInfo = _OCIDescriptorInfo
OCIImageIndexInfo = _OCIImageIndexInfo
OCIImageInfo = _OCIImageInfo
OCIPlatformInfo = _OCIPlatformInfo
OCIPulledFromInfo = _OCIPulledFromInfo
OCIPulledImageInfo = _OCIPulledImageInfo
OCIRootfsInfo = _OCIRootfsInfo
OCISBOMGeneratorInfo = _OCISBOMGeneratorInfo
OCIScanInfo = _OCIScanInfo
OCIScanPolicyInfo = _OCIScanPolicyInfo
OCIScannerInfo = _OCIScannerInfo
OCIToolInfo = _OCIToolInfo
