"""The rule for what a policy lets pass, in words for others."""

load("//oci/private/common:image_input.bzl", "IMAGE_PROVIDERS")
load("//oci/private/common:scan_aspect.bzl", "scan_aspect")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")
load("//oci/private/common:transitions.bzl", "pull_all_on", "single")
load("//oci/private/common:verdict.bzl", "verdicts_of")
load("//oci/private/providers:scan.bzl", "OCIScanInfo", "OCIScanPolicyInfo")

def _oci_vex_impl(ctx):
    image = single(ctx.attr.image)
    verdicts = verdicts_of(ctx, image, ctx.attr.policy or ctx.attr._policy, ctx.files.exceptions)
    findings = [scan.findings for scan in image[OCIScanInfo].images]
    output = ctx.actions.declare_file(ctx.label.name + ".openvex.json")
    arguments = ctx.actions.args()
    arguments.add_all(["findings", "vex"])
    arguments.add(ctx.attr.author, format = "--author=%s")
    arguments.add(ctx.attr.repository, format = "--repository=%s")
    arguments.add_all(findings, before_each = "--findings")
    arguments.add("--output", output)
    arguments.add_all(verdicts)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments],
        inputs = findings + verdicts,
        outputs = [output],
        mnemonic = "OCIVEX",
        progress_message = "Saying what passes of %{label}",
        toolchain = TOOLCHAIN_TYPE,
    )
    return [DefaultInfo(files = depset([output]))]

oci_vex = rule(
    implementation = _oci_vex_impl,
    doc = """Makes a document of OpenVEX 0.2.0, `NAME.openvex.json`, of the vulnerabilities in an image that exceptions let pass.

An exception with a `justification` says `not_affected`, with its `reason` as the impact statement. One without says `affected`, with
its `reason` as the action statement, because who accepts a vulnerability still has it. What documents of OpenVEX say among the
exceptions stays as it is.

Its date is that of the database, so its bytes are the same as long as nothing changes. An image whose scan cannot be trusted
is an error.""",
    attrs = {
        "author": attr.string(
            doc = "Who says so, such as `security@example.com`.",
            mandatory = True,
        ),
        "exceptions": attr.label_list(
            doc = "Files with exceptions for this image, as those of its `oci_scan_test`, beside those of the policy.",
            allow_files = [".json", ".toml"],
        ),
        "image": attr.label(
            doc = "The image or image index: an `oci_image`, an `oci_image_index`, or a pulled base itself.",
            mandatory = True,
            aspects = [scan_aspect],
            cfg = pull_all_on,
            providers = IMAGE_PROVIDERS,
        ),
        "policy": attr.label(
            doc = "The `oci_scan_policy`; without one, that of the build, `--@oci_pull_all//oci:scan_policy`.",
            providers = [OCIScanPolicyInfo],
        ),
        "repository": attr.string(
            doc = "Where the image is pushed to, such as `example.com/team/app`: the document names it by that and by its digest.",
            mandatory = True,
        ),
        "_policy": attr.label(default = Label("//oci:scan_policy"), providers = [OCIScanPolicyInfo]),
    },
    toolchains = [TOOLCHAIN_TYPE],
)
