"""What the rules tell each other about images."""

load(
    "//oci/private/providers:artifact.bzl",
    _OCIArtifactFilesInfo = "OCIArtifactFilesInfo",
    _OCIArtifactInfo = "OCIArtifactInfo",
)
load(
    "//oci/private/providers:image.bzl",
    _OCIDescriptorInfo = "OCIDescriptorInfo",
    _OCIImageIndexInfo = "OCIImageIndexInfo",
    _OCIImageInfo = "OCIImageInfo",
    _OCIPlatformInfo = "OCIPlatformInfo",
    _OCIPulledFromInfo = "OCIPulledFromInfo",
)
load("//oci/private/providers:layers.bzl", _OCILayersInfo = "OCILayersInfo")
load("//oci/private/providers:layout.bzl", _OCILayoutInfo = "OCILayoutInfo")
load("//oci/private/providers:pulled_image.bzl", _OCIPulledImageInfo = "OCIPulledImageInfo")
load("//oci/private/providers:rootfs.bzl", _OCIRootfsInfo = "OCIRootfsInfo")
load(
    "//oci/private/providers:scan.bzl",
    _OCIScanInfo = "OCIScanInfo",
    _OCIScanPolicyInfo = "OCIScanPolicyInfo",
    _OCIScannerGroupInfo = "OCIScannerGroupInfo",
    _OCIScannerInfo = "OCIScannerInfo",
)
load(
    "//oci/private/providers:toolchains.bzl",
    _OCISBOMGeneratorInfo = "OCISBOMGeneratorInfo",
    _OCIToolInfo = "OCIToolInfo",
)

OCIArtifactFilesInfo = _OCIArtifactFilesInfo
OCIArtifactInfo = _OCIArtifactInfo
OCIDescriptorInfo = _OCIDescriptorInfo
OCIImageIndexInfo = _OCIImageIndexInfo
OCIImageInfo = _OCIImageInfo
OCILayersInfo = _OCILayersInfo
OCILayoutInfo = _OCILayoutInfo
OCIPlatformInfo = _OCIPlatformInfo
OCIPulledFromInfo = _OCIPulledFromInfo
OCIPulledImageInfo = _OCIPulledImageInfo
OCIRootfsInfo = _OCIRootfsInfo
OCISBOMGeneratorInfo = _OCISBOMGeneratorInfo
OCIScanInfo = _OCIScanInfo
OCIScanPolicyInfo = _OCIScanPolicyInfo
OCIScannerGroupInfo = _OCIScannerGroupInfo
OCIScannerInfo = _OCIScannerInfo
OCIToolInfo = _OCIToolInfo
