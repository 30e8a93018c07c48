"""The rule that loads an image into a local container engine."""

load("//oci/private/common:layout_input.bzl", "single_input")
load("//oci/private/common:platforms.bzl", "PLATFORM_ATTR", "add_platform")
load("//oci/private/common:run_tool.bzl", "HOST_TOOL_ATTR", "run_host_tool", "runfiles_path", "write_arguments")
load("//oci/private/providers:rootfs.bzl", "OCIRootfsInfo")

def _oci_load_impl(ctx):
    if OCIRootfsInfo in ctx.attr.layout:
        fail("{}: {} is a root file system, which is no image: name an oci_image_layout or an oci_image_archive".format(
            ctx.label,
            ctx.attr.layout.label,
        ))
    found = single_input(ctx.label, ctx.attr.layout)
    arguments = ctx.actions.args()
    arguments.add("load")
    arguments.add_all([found.path], map_each = runfiles_path, expand_directories = False)
    add_platform(ctx, arguments)
    arguments.add_all(ctx.attr.repo_tags, format_each = "--tag=%s")
    if ctx.attr.loader:
        arguments.add("--loader", ctx.attr.loader)
    return run_host_tool(ctx, write_arguments(ctx, arguments), ctx.runfiles(transitive_files = found.inputs))

oci_load = rule(
    implementation = _oci_load_impl,
    doc = """Loads an image into Docker, podman or containerd on this machine: `bazel run :NAME`.

A layout is archived while the engine reads it: there is no archive on disk, and no build needs an engine.
Arguments after `--` are added to the rule's, such as `-- --loader podman` or `-- --tag app:mine`.

The engine is the one that the loader finds by its own means, such as `DOCKER_HOST`, or `CONTAINERD_ADDRESS`
and `CONTAINERD_NAMESPACE` for `ctr`. Docker and containerd take a name without a registry as one of
`docker.io`; podman stores it as `docker.io/NAME` if it is the only one, and else as `localhost/NAME`, and finds
it by the short name.""",
    attrs = {
        "layout": attr.label(
            doc = """The image layout: an `oci_image_layout`, or another target with one directory that is one.
Or an archive: an `oci_image_archive` of the format `docker`, or another file such as `docker save` writes. It
has its names, so `repo_tags` and `platform` are for layouts alone.""",
            mandatory = True,
            allow_files = True,
        ),
        "loader": attr.string(
            doc = """The program that loads the image, a name on PATH or a path: `docker`, `podman`, `nerdctl`, `ctr`, or
another whose `load` reads an archive of `docker save` from its standard input. By default it is the first of
these four that is on PATH.""",
        ),
        "platform": PLATFORM_ATTR,
        "repo_tags": attr.string_list(
            doc = "The names that the image gets, such as `example.com/app:latest`. `ctr` needs one.",
        ),
        "_tool": HOST_TOOL_ATTR,
    },
    executable = True,
)
