"""A scanner that is installed on the machine."""

def _host_program_impl(rctx):
    program = rctx.which(rctx.attr.program)
    if program == None:
        fail("{} is not on PATH: install it".format(rctx.attr.program))
    rctx.symlink(program, "program")
    rctx.file("BUILD.bazel", "exports_files([\"program\"], visibility = [\"//visibility:public\"])\n")

host_program = repository_rule(
    implementation = _host_program_impl,
    doc = "Makes `@NAME//:program` of a program on PATH.",
    attrs = {"program": attr.string(mandatory = True)},
    environ = ["PATH"],
)
