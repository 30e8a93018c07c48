"""The rule for an archive of an image."""

load(":caching.bzl", "CACHE_BASE", "caching_of_base")
load(":layout_input.bzl", "LAYOUT_ATTR", "layout_input")
load(":platforms.bzl", "PLATFORM_DOC", "add_platform")
load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def _oci_image_archive_impl(ctx):
    if ctx.attr.repo_tags and ctx.attr.format != "docker":
        fail("{}: repo_tags are for format = \"docker\": other archives have no place for them".format(ctx.label))
    for tag in ctx.attr.repo_tags:
        if "@" in tag or ":" not in tag.split("/")[-1]:
            fail("{}: repo_tags has {}, but a name and a tag are wanted, such as \"example.com/app:latest\"".format(ctx.label, repr(tag)))
    found = layout_input(ctx)
    archive = ctx.actions.declare_file(ctx.label.name + ".tar")
    arguments = ctx.actions.args()
    arguments.add_all(["layout", "archive"])
    arguments.add_all([found.path], expand_directories = False)
    arguments.add("--format", ctx.attr.format)
    add_platform(ctx, arguments)
    arguments.add_all(ctx.attr.repo_tags, before_each = "--tag")
    arguments.add("--output", archive)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments],
        inputs = found.inputs,
        outputs = [archive],
        execution_requirements = caching_of_base(ctx),
        mnemonic = "OCIArchive",
        progress_message = "Archiving image layout %{label}",
        toolchain = TOOLCHAIN_TYPE,
    )
    return [DefaultInfo(files = depset([archive]))]

oci_image_archive = rule(
    implementation = _oci_image_archive_impl,
    doc = "Makes one file of an image layout, for tools that want an archive.",
    attrs = {
        "cache_base": CACHE_BASE,
        "format": attr.string(
            doc = """`oci`: the layout's files as they are (OCI image spec, image-layout.md), which may be of
several platforms. `docker`: the same for one image, with the `manifest.json` that `docker load` reads.""",
            default = "oci",
            values = ["docker", "oci"],
        ),
        "layout": LAYOUT_ATTR,
        "platform": attr.string(doc = PLATFORM_DOC),
        "repo_tags": attr.string_list(
            doc = "The names that `docker load` gives the image, such as `example.com/app:latest`; for the format `docker` alone.",
        ),
    },
    toolchains = [TOOLCHAIN_TYPE],
)
