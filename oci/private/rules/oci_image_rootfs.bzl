"""The rule for an image's root file system."""

load("//oci/private/common:layout_archive.bzl", "LAYOUT_ARCHIVE_ATTRS", "layout_archive")
load("//oci/private/common:mtree.bzl", "mtree_of")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/providers:rootfs.bzl", "OCIRootfsInfo")

def _oci_image_rootfs_impl(ctx):
    archive = layout_archive(
        ctx,
        command = "rootfs",
        options = ctx.actions.args(),
        output_flag = "--tar",
        mnemonic = "OCIRootfs",
        progress_message = "Flattening image layout %{label}",
    )
    return [
        DefaultInfo(files = depset([archive])),
        OutputGroupInfo(mtree = depset([mtree_of(ctx, archive)])),
        OCIRootfsInfo(layout = ctx.attr.layout, platform = ctx.attr.platform),
    ]

oci_image_rootfs = rule(
    implementation = _oci_image_rootfs_impl,
    doc = """Makes an image's root file system, as a container on it would see it (OCI image spec, layer.md).

Its output is a tar archive, which has what no directory that Bazel can carry has: owners, devices, and links
that dangle or lead to `/`. In an `oci_scan_test` it is a directory, unpacked when the test runs: symbolic
links and hard links are as in the image; owners, devices, named pipes, extended attributes and set-ID bits
are left out. Such a test does not need the archive: `tags = ["manual"]` keeps `bazel build //...` from making
it.

Nothing is written outside of the root, whatever the layers hold. Provides OCIRootfsInfo. The output group `mtree` has
a list of what is in it (mtree(5)), which a test may compare with what is expected.""",
    attrs = LAYOUT_ARCHIVE_ATTRS,
    provides = [OCIRootfsInfo],
    toolchains = [TOOLCHAIN_TYPE],
)
