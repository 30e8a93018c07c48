"""The rule for a file out of an image."""

load("//oci/private/common:image_input.bzl", "CHOICE_PROVIDERS", "choose_image", "image_alone")
load("//oci/private/common:image_layout.bzl", "image_layout")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")
load("//oci/private/common:transitions.bzl", "pull_all_on", "single")
load("//oci/private/providers:image.bzl", "OCIPlatformInfo")
load("//oci/private/providers:image_file.bzl", "OCIImageFileInfo")

def _oci_image_file_impl(ctx):
    target = single(ctx.attr.image)
    wanted = ctx.attr._target_platform[OCIPlatformInfo]
    if not wanted.architecture:
        fail("{}: the platform that it is built for has no processor constraint that oci_pull_all knows".format(ctx.label))
    image = choose_image(
        ctx.label,
        target,
        wanted,
        "image",
        "A file is of the image for the platform that it is built for, and a tool of a build of that for the execution platform.",
    )
    layout = image_layout(ctx, target, image_alone(image), name = ctx.label.name + ".layout")
    name = ctx.attr.path.split("/")[-1]
    if name in ("", ".", ".."):
        fail("{}: path is {}, but it must be that of a file, such as \"/usr/local/bin/trivy\"".format(ctx.label, repr(ctx.attr.path)))
    output = ctx.actions.declare_file("{}.file/{}".format(ctx.label.name, name))
    arguments = ctx.actions.args()
    arguments.add_all(["layout", "file"])
    arguments.add_all(layout.files, expand_directories = False)
    arguments.add(ctx.attr.path, format = "--path=%s")
    if _is_tool(ctx):
        arguments.add("--program")
        if not ctx.target_platform_has_constraint(ctx.attr._linux[platform_common.ConstraintValueInfo]):
            arguments.add("--foreign")
    arguments.add("--output", output)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments],
        inputs = layout.default_runfiles.files,
        outputs = [output],
        mnemonic = "OCIImageFile",
        progress_message = "Taking a file out of the image of %{label}",
        toolchain = TOOLCHAIN_TYPE,
    )
    return [
        DefaultInfo(
            executable = output,
            files = depset([output]),
        ),
        OCIImageFileInfo(config = image.config),
    ]

def _is_tool(ctx):
    # Bazel tells a rule in no other way that it is built for the build itself.
    return "-exec" in ctx.bin_dir.path

oci_image_file = rule(
    implementation = _oci_image_file_impl,
    doc = """A file out of an image: of a pulled one, or of one that the build makes.

It is what the path leads to in a container on that image: layers are applied one on the other, whiteouts count, and links
are followed. Of an image for several platforms, it is that of the one which is built for. The image's layers are fetched
only where the file is built.

It is executable if it is so in the image. As a tool of the build (`tools` of a genrule, a toolchain, the scanner of a test),
it must run where nothing of its image is: a script, and a program that needs a dynamic loader, are an error that names
what they need.""",
    executable = True,
    attrs = {
        "image": attr.label(
            doc = """The image or image index: `@NAME` of an `oci.pull`, an `oci_image` or an `oci_image_index`. Of several images it
is the one that fits the platform best, and of several that fit alike the first.""",
            mandatory = True,
            providers = CHOICE_PROVIDERS,
            cfg = pull_all_on,
        ),
        "path": attr.string(
            doc = "The file's path in the image, such as `/usr/local/bin/trivy`.",
            mandatory = True,
        ),
        "_linux": attr.label(default = Label("@platforms//os:linux")),
        "_target_platform": attr.label(default = Label("//oci:target_platform")),
    },
    toolchains = [TOOLCHAIN_TYPE],
)
