"""The test of an image by what a scanner found in it and a policy."""

load("//oci/private/providers:scan.bzl", "OCIScanInfo", "OCIScanPolicyInfo")
load(":image_input.bzl", "image_input")
load(":platforms.bzl", "platform_to_string")
load(":run_tool.bzl", "runfiles_path", "test_tool")
load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def verdict_test(ctx, image, policy, exceptions, baseline):
    """Makes the test.

    Args:
      ctx: the context of a test rule with `exec_groups = TEST_EXEC_GROUPS`.
      image: the target of an image or an index, with scan_aspect, or a scanned_layout.
      policy: the target of a policy.
      exceptions: a list of File, exceptions for this image alone.
      baseline: a File, what was found and accepted; None where there is none yet.

    Returns:
      A list of providers.
    """
    scans = _scans(ctx, image)
    policy = policy[OCIScanPolicyInfo]
    tool = get_tool(ctx.exec_groups["test"])
    verdicts = [
        _verdict(ctx, name, scans, policy, exceptions, baseline, tool, exec_group = "test")
        for name, scans in _by_image(scans)
    ]
    arguments = ctx.actions.args()
    arguments.add_all(["findings", "show"])
    arguments.add(str(ctx.label), format = "--name=%s")
    if not ctx.label.workspace_name:
        arguments.add("/".join([part for part in (ctx.label.package, baseline_name(ctx.label.name)) if part]), format = "--baseline=%s")
    found = image_input(image)
    index = found.index if found else None
    indexes = [index.index] if index else []
    arguments.add_all("--index", indexes, map_each = runfiles_path)
    if index and index.pulled_from:
        arguments.add("--pulled")
    arguments.add_all(verdicts, map_each = runfiles_path)
    outputs = OutputGroupInfo(
        findings = depset([scan.findings for scan in scans]),
        inventory = depset([scan.inventory for scan in scans]),
        verdict = depset(verdicts),
    )
    return test_tool(ctx, arguments, ctx.runfiles(verdicts + indexes)) + [outputs]

def verdicts_of(ctx, image, policy, exceptions = []):
    """Judges the images of a target.

    Args:
      ctx: the context of a rule with `toolchains = [TOOLCHAIN_TYPE]`.
      image: the target of an image or an index, with scan_aspect.
      policy: the target of a policy.
      exceptions: a list of File, exceptions for this image alone.

    Returns:
      A list of File, the verdicts.
    """
    policy = policy[OCIScanPolicyInfo]
    return [
        _verdict(ctx, name, scans, policy, exceptions, None, get_tool(ctx), toolchain = TOOLCHAIN_TYPE)
        for name, scans in _by_image(_scans(ctx, image))
    ]

def _scans(ctx, image):
    scans = image[OCIScanInfo].images
    skipped = image[OCIScanInfo].skipped_scanner
    if skipped:
        fail("{}: {} cannot be scanned by {}, which runs on none of the execution platforms: its image is one of Linux. Register a platform of Linux (register_execution_platforms), or give the scanner a program of this system".format(
            ctx.label,
            image.label,
            skipped,
        ))
    if not scans:
        fail("{}: no scanner is set that could scan {}: make a trivy_scanner, a grype_scanner, an osv_scanner or a clamav_scanner, and name it in .bazelrc: common --@oci_pull_all//oci:scanner=//PACKAGE:NAME".format(
            ctx.label,
            image.label,
        ))
    return scans

def _by_image(scans):
    """Lists of the scans of one image each, by several scanners, with a name for it: an index may have several for a platform."""
    images = {}
    for scan in scans:
        platform = platform_to_string(scan.platform) if scan.platform else ""
        images.setdefault((scan.label, platform), []).append(scan)
    counts = {}
    named = []
    for (_, platform), scans in images.items():
        name = _file_name(platform) if platform else "image"
        counts[name] = counts.get(name, 0) + 1
        named.append((name if counts[name] == 1 else "{}.{}".format(name, counts[name]), scans))
    return named

def baseline_name(name):
    """The name of the file in a test's package that has what was found and accepted.

    Args:
      name: the test's name.

    Returns:
      A string.
    """
    return name + ".baseline.toml"

def _file_name(platform):
    """A platform as a part of a file's name; one with other characters, which an os.version may have, is told by its hash."""
    plain = platform.replace("/", "-")
    safe = "".join([c if c.isalnum() or c in "._-" else "-" for c in plain.elems()])
    return safe if safe == plain else "{}-{}".format(safe, abs(hash(platform)))

def _verdict(ctx, name, scans, policy, exceptions, baseline, tool, **kwargs):
    verdict = ctx.actions.declare_file("{}.{}.verdict.json".format(ctx.label.name, name))
    kinds = [kind for scan in scans for kind in scan.scanner.kinds]
    missing = [kind for kind in policy.kinds if kind not in kinds]
    if missing:
        fail("{}: the policy {} has the kind {}, which {} not look for: set kinds of a trivy_scanner; grype and osv-scanner find vulnerabilities alone, and ClamAV malware alone".format(
            ctx.label,
            policy.label,
            missing[0],
            " and ".join([scan.scanner.name for scan in scans]) + (" does" if len(scans) == 1 else " do"),
        ))
    exceptions = policy.exceptions + exceptions
    tested = []
    untested = []
    for scan in scans:
        for base in scan.bases:
            is_tested = [label for label in base.labels if label in policy.bases]
            (tested if is_tested else untested).append(base.inventory)
    findings = [scan.findings for scan in scans]
    bases = scans[0].bases
    arguments = ctx.actions.args()
    arguments.add_all(["findings", "verdict"])
    arguments.add_all(findings, before_each = "--findings")
    arguments.add_all(policy.arguments)
    arguments.add(str(policy.label), format = "--policy-name=%s")
    arguments.add_all(untested, before_each = "--base")
    if bases:
        arguments.add(str(bases[0].labels[0]), format = "--base-name=%s")
    arguments.add_all(tested, before_each = "--tested-base")
    arguments.add_all(exceptions, format_each = "--exceptions=%s")
    accepted = [baseline] if baseline else []
    arguments.add_all(accepted, format_each = "--baseline=%s")
    arguments.add("--output", verdict)
    ctx.actions.run(
        executable = tool,
        arguments = [arguments],
        inputs = findings + tested + untested + exceptions + accepted,
        outputs = [verdict],
        mnemonic = "OCIVerdict",
        progress_message = "Judging %{label}",
        **kwargs
    )
    return verdict
