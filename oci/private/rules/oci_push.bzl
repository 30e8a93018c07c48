"""The rule that pushes an image to a registry."""

load("//oci/private/common:arguments.bzl", "plain_http_argument")
load("//oci/private/common:image_input.bzl", "IMAGE_PROVIDERS", "image_input")
load("//oci/private/common:run_tool.bzl", "HOST_TOOL_ATTR", "run_host_tool", "runfiles_path", "write_arguments")
load("//oci/private/common:scan_aspect.bzl", "scan_aspect")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/common:transitions.bzl", "push_transition")
load("//oci/private/common:verdict.bzl", "verdicts_of")
load("//oci/private/providers:push.bzl", "OCIPushInfo")
load("//oci/private/providers:setting.bzl", "OCISettingInfo")

def _oci_push_impl(ctx):
    _check(ctx)
    found = image_input(ctx.split_attr.image["pushed"])
    described = found.images + ([found.index] if found.index else [])
    layers = found.layers.to_list()

    arguments = ctx.actions.args()
    arguments.add("push")
    arguments.add(ctx.attr.repository, format = "--repository=%s")
    if ctx.attr.plain_http:
        arguments.add(plain_http_argument(ctx.attr.repository))
    _add_files(arguments, "--root", [found.root.descriptor])
    arguments.add_all(found.documents, before_each = "--local-file", map_each = runfiles_path, uniquify = True)
    for layer in layers:
        _add_files(arguments, "--local", [layer.descriptor, layer.blob])
    for image in described:
        if image.pulled_from:
            _add_files(arguments, "--from", [image.descriptor])
            arguments.add(image.pulled_from.repository)
            if image.pulled_from.plain_http:
                arguments.add(plain_http_argument(image.pulled_from.repository))
    arguments.add_all(ctx.attr.remote_tags, format_each = "--tag=%s")
    if ctx.file.remote_tags_file:
        _add_files(arguments, "--tag-file", [ctx.file.remote_tags_file])
    status = []
    if [tag for tag in ctx.attr.remote_tags if "{" in tag]:
        status = [ctx.info_file, ctx.version_file]
        arguments.add_all(status, before_each = "--status", map_each = runfiles_path)

    verdicts = []
    if ctx.attr._require_scan[OCISettingInfo].value:
        verdicts = verdicts_of(ctx, ctx.split_attr.image["scanned"], ctx.attr._scan_policy)
        arguments.add("--require-scan")
        arguments.add_all(verdicts, before_each = "--verdict", map_each = runfiles_path)

    files = found.documents + verdicts + status + ctx.files.remote_tags_file
    files += [image.descriptor for image in described]
    files += [file for layer in layers for file in (layer.descriptor, layer.blob)]
    file = write_arguments(ctx, arguments)
    return run_host_tool(ctx, file, ctx.runfiles(files)) + [OCIPushInfo(arguments = file)]

def _check(ctx):
    repository = ctx.attr.repository
    if "/" not in repository or "@" in repository or ":" in repository.split("/")[-1]:
        fail("{}: repository is {}, but a registry and a repository are wanted, without a tag, such as \"example.com/team/app\"; tags are for remote_tags".format(
            ctx.label,
            repr(repository),
        ))

def _add_files(arguments, flag, files):
    arguments.add_all(flag, files, map_each = runfiles_path)

oci_push = rule(
    implementation = _oci_push_impl,
    doc = """Pushes an image or an image index to a registry: `bazel run :NAME`.

It prints `REPOSITORY@DIGEST`. What the repository has already is not sent, so that a push that broke off goes on
where it ended, and one that is repeated sends nothing.

Where the build is set to `--@oci_pull_all//oci:require_scan`, an image is pushed only if it passes the scanner and the policy that
the build is set to: what was found is printed, and before a byte is sent the push ends with 1 for findings, with 2 for a scan
that cannot be trusted, as an `oci_scan_test` does. Such a push needs the base's layers.

No layer of the base is downloaded by Bazel otherwise. A base from the same registry is mounted from its repository
(OCI distribution spec, "Mounting a blob from another repository"). Otherwise its layers pass through the
tool from registry to registry, verified, unless the blob store has them.

Arguments after `--` are added to the rule's: `bazel run :NAME -- --tag v2` for one more tag,
`-- --repository example.com/other/app` to push elsewhere, `-- --help` for what else there is. Credentials
are found as those for pulls are.""",
    attrs = {
        "image": attr.label(
            doc = "What is pushed: an `oci_image`, an `oci_image_index`, or a pulled base itself, which is thereby copied.",
            mandatory = True,
            providers = IMAGE_PROVIDERS,
            aspects = [scan_aspect],
            cfg = push_transition,
        ),
        "plain_http": attr.bool(
            doc = "Whether to speak plain HTTP to the registry. One on the machine's loopback needs no permission.",
        ),
        "remote_tags": attr.string_list(
            doc = """The tags that are to point to the image. `{NAME}` in one stands for a value of Bazel's
workspace status when the push runs: `{BUILD_EMBED_LABEL}` for what `--embed_label` says, or what a program
that `--workspace_status_command` names prints. Without any tag, the image is pushed by its digest alone.""",
        ),
        "remote_tags_file": attr.label(
            doc = "A file with more tags, one on each line.",
            allow_single_file = True,
        ),
        "repository": attr.string(
            doc = "The registry and the repository, such as `example.com/team/app`.",
            mandatory = True,
        ),
        "_require_scan": attr.label(default = Label("//oci:require_scan")),
        "_scan_policy": attr.label(default = Label("//oci:scan_policy")),
        "_tool": HOST_TOOL_ATTR,
    },
    executable = True,
    provides = [OCIPushInfo],
    toolchains = [TOOLCHAIN_TYPE],
)
