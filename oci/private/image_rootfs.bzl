"""The rule for an image's root file system."""

load("//oci:providers.bzl", "OCIRootfsInfo")
load(":caching.bzl", "CACHE_BASE", "caching_of_base")
load(":layout_input.bzl", "LAYOUT_ATTR", "layout_input")
load(":platforms.bzl", "PLATFORM_DOC", "add_platform")
load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def _oci_image_rootfs_impl(ctx):
    found = layout_input(ctx)
    archive = ctx.actions.declare_file(ctx.label.name + ".tar")
    arguments = ctx.actions.args()
    arguments.add_all(["layout", "rootfs"])
    arguments.add_all([found.path], expand_directories = False)
    add_platform(ctx, arguments)
    arguments.add("--tar", archive)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments],
        inputs = found.inputs,
        outputs = [archive],
        execution_requirements = caching_of_base(ctx),
        mnemonic = "OCIRootfs",
        progress_message = "Flattening image layout %{label}",
        toolchain = TOOLCHAIN_TYPE,
    )
    return [
        DefaultInfo(files = depset([archive])),
        OCIRootfsInfo(layout = ctx.attr.layout, platform = ctx.attr.platform),
    ]

oci_image_rootfs = rule(
    implementation = _oci_image_rootfs_impl,
    doc = """Makes an image's root file system, as a container on it would see it (OCI image spec, layer.md).

Its output is a tar archive, which has what no directory that Bazel can carry has: owners, devices, and links
that dangle or lead to `/`. In an `oci_scan_test` it is a directory, unpacked when the test runs: symbolic
links and hard links are as in the image; owners, devices, named pipes, extended attributes and set-ID bits are left out. Such a test does not
need the archive: `tags = ["manual"]` keeps `bazel build //...` from making it.

Nothing is written outside of the root, whatever the layers hold. Provides OCIRootfsInfo.""",
    attrs = {
        "cache_base": CACHE_BASE,
        "layout": LAYOUT_ATTR,
        "platform": attr.string(doc = PLATFORM_DOC),
    },
    provides = [OCIRootfsInfo],
    toolchains = [TOOLCHAIN_TYPE],
)
