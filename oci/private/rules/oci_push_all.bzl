"""The rule that pushes several images in one run."""

load("//oci/private/common:run_tool.bzl", "HOST_TOOL_ATTR", "run_host_tool", "runfiles_path", "write_arguments")
load("//oci/private/providers:push.bzl", "OCIPushInfo")

def _oci_push_all_impl(ctx):
    arguments = ctx.actions.args()
    arguments.add("push-all")
    pushes = [push[OCIPushInfo].arguments for push in ctx.attr.pushes]
    arguments.add_all(pushes, before_each = "--push", map_each = runfiles_path)
    arguments.add("--")
    runfiles = ctx.runfiles().merge_all([push[DefaultInfo].default_runfiles for push in ctx.attr.pushes])
    return run_host_tool(ctx, write_arguments(ctx, arguments), runfiles)

oci_push_all = rule(
    implementation = _oci_push_all_impl,
    doc = """Pushes several images, one after the other: `bazel run :NAME`.

Nothing is sent before all of them are looked at: their files, tags and credentials, and where the build is set to
`--@oci_pull_all//oci:require_scan` their verdicts. A push that breaks off ends the run; the next one goes on where it ended.

Arguments after `--` count for each of them: `bazel run :NAME -- --tag v2` for one more tag.""",
    attrs = {
        "pushes": attr.label_list(
            doc = "Labels of `oci_push` targets, in the order in which they are pushed.",
            mandatory = True,
            allow_empty = False,
            providers = [OCIPushInfo],
        ),
        "_tool": HOST_TOOL_ATTR,
    },
    executable = True,
)
