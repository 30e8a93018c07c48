"""The rule that loads an image into a local container engine."""

load(":layout_input.bzl", "LAYOUT_ATTR", "layout_input")
load(":platforms.bzl", "PLATFORM_ATTR", "add_platform")
load(":run_program.bzl", "run_program", "runfiles_path")
load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def _oci_load_impl(ctx):
    found = layout_input(ctx)
    arguments = ctx.actions.args()
    arguments.add("load")
    arguments.add_all([found.path], map_each = runfiles_path, expand_directories = False)
    add_platform(ctx, arguments)
    arguments.add_all(ctx.attr.repo_tags, before_each = "--tag")
    if ctx.attr.loader:
        arguments.add("--loader", ctx.attr.loader)
    return run_program(ctx, get_tool(ctx), arguments, ctx.runfiles(transitive_files = found.inputs))

oci_load = rule(
    implementation = _oci_load_impl,
    doc = """Loads an image into Docker, podman or containerd on this machine: `bazel run :NAME`.

The layout is archived while the engine reads it: there is no archive on disk, and no build needs an engine.
Arguments after `--` are added to the rule's, such as `-- --loader podman` or `-- --tag app:mine`.""",
    attrs = {
        "layout": LAYOUT_ATTR,
        "loader": attr.string(
            doc = """The program whose `load` reads an archive of `docker save` from its standard input: a name
on PATH, or a path. By default it is `docker`, `podman` or `nerdctl`, the first that is on PATH.""",
        ),
        "platform": PLATFORM_ATTR,
        "repo_tags": attr.string_list(
            doc = "The names that the image gets, such as `example.com/app:latest`.",
        ),
    },
    executable = True,
    toolchains = [TOOLCHAIN_TYPE],
)
