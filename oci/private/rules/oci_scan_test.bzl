"""The test that runs a scanner on an image."""

load("//oci/private/common:image_input.bzl", "IMAGE_PROVIDERS")
load("//oci/private/common:layout_input.bzl", "LAYOUT_FORMS", "layout_of", "single_input")
load("//oci/private/common:network.bzl", "NETWORK_ATTR", "add_network", "network_requirements")
load("//oci/private/common:placeholders.bzl", "check_placeholders", "has_placeholder")
load("//oci/private/common:platforms.bzl", "add_platform")
load("//oci/private/common:run_tool.bzl", "TEST_EXEC_GROUPS", "runfiles_path", "test_tool")
load("//oci/private/common:scan_aspect.bzl", "scan_aspect")
load("//oci/private/common:transitions.bzl", "pull_all_on", "single")
load("//oci/private/common:verdict.bzl", "baseline_name", "verdict_test")
load("//oci/private/providers:rootfs.bzl", "OCIRootfsInfo")
load("//oci/private/providers:scan.bzl", "OCIScanInfo", "OCIScanPolicyInfo")
load(":scanned_layout.bzl", "scanned_layout")

_PLACEHOLDERS = ["{layout}", "{report}", "{outputs}"]

_BUILD_SCANNER = Label("//oci:scanner")

# By which all of these are left out of a build, or chosen, as in `--build_tag_filters=-oci-scan`.
_TAG = "oci-scan"

# What counts with a scanner of the test's own alone, and with that of the build alone.
_OF_OWN_SCANNERS = ["args", "data", "env", "expected_exit", "input", "network", "report"]
_OF_THE_BUILD = ["exceptions", "image", "policy"]

def _oci_scan_test_impl(ctx):
    own = ctx.attr.scanner
    for name in _OF_THE_BUILD if own else _OF_OWN_SCANNERS:
        if getattr(ctx.attr, name):
            fail("{}: {} is for {}".format(
                ctx.label,
                name,
                "the scanner of the build, but scanner is given, which scans a layout" if own else "a scanner of the test's own, but scanner is not given",
            ))
    if own:
        if not ctx.attr.layout:
            fail("{}: scanner is given, but no layout that it could scan".format(ctx.label))
        return _scan_layout(ctx)
    if bool(ctx.attr.image) == bool(ctx.attr.scanned):
        fail("{}: give either image or layout".format(ctx.label))
    if ctx.attr.platform:
        fail("{}: platform is for a layout: of an image that is an index, all images are scanned".format(ctx.label))
    target = single(ctx.attr.image) if ctx.attr.image else ctx.attr.scanned
    return verdict_test(ctx, target, ctx.attr.policy or ctx.attr._policy, ctx.files.exceptions, ctx.file.baseline)

def _scan_layout(ctx):
    _check_words(ctx)
    target = ctx.attr.layout
    arguments = ctx.actions.args()
    arguments.add("scan")
    add_network(ctx, arguments)
    input = ctx.attr.input
    if OCIRootfsInfo in target:
        if input not in ("", "rootfs"):
            fail("{}: input is {}, but {} is a root file system: name its layout instead".format(ctx.label, repr(input), target.label))
        input = "rootfs"
        if ctx.attr.platform:
            fail("{}: platform is for a layout of several images, but {} is the root file system of one: set platform there".format(
                ctx.label,
                target.label,
            ))
        if target[OCIRootfsInfo].platform:
            arguments.add("--platform", target[OCIRootfsInfo].platform)
        target = target[OCIRootfsInfo].layout
    add_platform(ctx, arguments)
    if not ctx.executable.scanner:
        fail("{}: the scanner {} is not a program".format(ctx.label, ctx.attr.scanner.label))
    if input:
        arguments.add("--input", input)
    if input in LAYOUT_FORMS:
        found = layout_of(ctx.label, target)
    else:
        found = single_input(ctx.label, target)
    arguments.add_all("--layout", [found.path], map_each = runfiles_path, expand_directories = False)
    arguments.add_all("--scanner", [ctx.executable.scanner], map_each = runfiles_path)
    arguments.add(str(ctx.attr.scanner.label), format = "--scanner-name=%s")
    arguments.add_all(ctx.files.data, before_each = "--data", map_each = runfiles_path, uniquify = True, expand_directories = False)
    if ctx.attr.report:
        if [part for part in ctx.attr.report.split("/") if part in ("", ".", "..")]:
            fail("{}: report is {}, but it must be the path of a file in the test's outputs, such as \"report.json\"".format(
                ctx.label,
                repr(ctx.attr.report),
            ))
        arguments.add(ctx.attr.report, format = "--report=%s")
    if ctx.attr.expected_exit < 0 or ctx.attr.expected_exit > 255:
        fail("{}: expected_exit is {}, but exit codes are 0 to 255".format(ctx.label, ctx.attr.expected_exit))
    arguments.add(ctx.attr.expected_exit, format = "--expected-exit=%s")
    for name, value in ctx.attr.env.items():
        if not name or "=" in name:
            fail("{}: env has the variable {}, whose name is empty or has an '=' in it".format(ctx.label, repr(name)))
        value = ctx.expand_make_variables("env", ctx.expand_location(value, ctx.attr.data), {})
        arguments.add(name + "=" + value, format = "--env=%s")
    arguments.add("--")

    runfiles = ctx.runfiles(
        files = [ctx.executable.scanner] + ctx.files.data,
        transitive_files = found.inputs,
    ).merge_all([
        target[DefaultInfo].default_runfiles
        for target in [ctx.attr.scanner] + ctx.attr.data
    ])
    return test_tool(ctx, arguments, runfiles) + [testing.ExecutionInfo(network_requirements(ctx.attr.network))]

def _check_words(ctx):
    env = ctx.attr.env.values()
    check_placeholders(ctx.label, "args", ctx.attr.args, _PLACEHOLDERS)
    check_placeholders(ctx.label, "env", env, _PLACEHOLDERS)
    if ctx.attr.args and not has_placeholder(ctx.attr.args + env, _PLACEHOLDERS):
        fail("{}: neither args nor env has a placeholder, so the scanner is not told what to scan: there are {}. For one that reads OCI_LAYOUT, set env = {{\"OCI_LAYOUT\": \"{{layout}}\"}}".format(
            ctx.label,
            ", ".join(_PLACEHOLDERS),
        ))

_oci_scan_test = rule(
    implementation = _oci_scan_test_impl,
    attrs = {
        "baseline": attr.label(allow_single_file = [".toml"]),
        # One that runs nowhere makes the test incompatible. As the aspect has it.
        "build_scanner": attr.label(cfg = pull_all_on),
        "data": attr.label_list(allow_files = True),
        "env": attr.string_dict(),
        "exceptions": attr.label_list(allow_files = [".json", ".toml"]),
        "expected_exit": attr.int(),
        "image": attr.label(aspects = [scan_aspect], cfg = pull_all_on, providers = IMAGE_PROVIDERS),
        "input": attr.string(values = [""] + LAYOUT_FORMS + ["sbom"]),
        "layout": attr.label(allow_files = True),
        "network": NETWORK_ATTR,
        "platform": attr.string(),
        "policy": attr.label(providers = [OCIScanPolicyInfo]),
        "report": attr.string(),
        "scanned": attr.label(providers = [OCIScanInfo]),
        "scanner": attr.label(allow_files = True, executable = True, cfg = config.exec("test")),
        "_policy": attr.label(default = Label("//oci:scan_policy"), providers = [OCIScanPolicyInfo]),
    },
    exec_groups = TEST_EXEC_GROUPS,
    test = True,
)

def oci_scan_test(
        name,
        image = None,
        policy = None,
        exceptions = [],
        layout = None,
        base = None,
        scanner = None,
        input = "",
        platform = "",
        platforms = [],
        data = [],
        env = {},
        report = "",
        expected_exit = 0,
        network = False,
        tags = [],
        **kwargs):
    """Tests an image with a scanner.

    Without `scanner`, it is that of the build (`--@oci_pull_all//oci:scanner`), which looks into each image and each base
    once, however many tests there are, and `policy` decides what passes. The test ends with 1 for findings, with 2 for a scan
    that cannot be trusted, such as one that saw no packages, and has a JUnit report of them. What is scanned is `image`, of an
    index each of its images, or `layout`, whatever ruleset made it; of a layout of several images those of `platforms`, which
    must be all, or that of `platform` alone. With `base`, what such a layout's base has is told from what is its own, as it is
    for an `image`; a base whose layers are not the lowest of the layout's image is an error. Output groups: `inventory`, `findings` and `verdict`, a file in JSON for each image.

    `bazel run` of the test with `-- --accept` writes all that fails into `NAME.baseline.toml` in the test's package, which is a file
    of exceptions that the test takes as soon as it is there.

    With `layout` and `scanner`, the scanner may be any program. It runs in the test's sandbox, and its output is the test's. In the words of `args`, and in the
    values of `env`, `{layout}` stands for the absolute path of what is scanned, `{report}` for that of the
    report and `{outputs}` for that of the directory of the test's undeclared outputs, which Bazel keeps in
    `bazel-testlogs/PACKAGE/NAME/test.outputs`. The scanner finds the first two in the environment too, as
    `OCI_LAYOUT` and `OCI_SCAN_REPORT`.

    The scanner sees the layout, or the file, as regular files that it cannot change. Scanners obey settings that lie
    about, so its working directory has what `data` names and nothing else, and `HOME` is an empty directory. `TMPDIR` is
    one in the test's own directory.

    The test succeeds if the scanner ends with the code `expected_exit` and has written the report; else it ends
    with the scanner's code, or with 1 if that is 0.

    `args` is the attribute that all tests have: its words may hold `$(rootpath LABEL)` of what is in `data`, and
    `bazel test --test_arg` adds to them.

    Args:
      name: the target's name.
      image: the label of the image or image index: an `oci_image`, an `oci_image_index`, or a pulled base itself.
      policy: the label of the `oci_scan_policy`; without one, that of the build, `--@oci_pull_all//oci:scan_policy`.
      exceptions: labels of files with exceptions for this image, in TOML, and of documents of OpenVEX 0.2.0 (`.json`), beside
        those of the policy.
      layout: the label of what is scanned, for the scanner of the build an image layout as a directory, and for one of the test's own: an `oci_image_layout`, as a directory (`oci-dir:{layout}` for many
        scanners); an `oci_image_archive`, as a file (`docker-archive:{layout}`, `oci-archive:{layout}`); an
        `oci_image_rootfs`, as a directory in which the image's file system is unpacked; or any other target with
        one file or directory.
      base: the label of what the images of a layout stand on, for the scanner of the build: a pulled base (`@NAME`), an `oci_image`
        or an `oci_image_index`. Of several images, it is the one for `platform`, or else for the target platform.
      scanner: the label of the program of a scanner of the test's own.
      input: in which form the scanner gets what is in a layout: `layout`; `oci-archive` or `docker-archive`, as a file; `rootfs`, as
        a directory in which the root file system is unpacked; or `registry`, in which case `{layout}` is the image's name in a
        registry on loopback that has it, such as `127.0.0.1:1234/image:latest`, and that nobody else reaches. `sbom` is for
        an `oci_sbom` as layout: a file that lists no package, or not of which system they are, is an error. Left out, it is
        what `layout` is.
      platform: which image of a layout of several, such as `linux/arm64/v8`: the scanner sees that one alone. Some
        scanners take the first otherwise, whatever they are told.
      platforms: the platforms of all images of a layout, for the scanner of the build, such as
        `["linux/amd64", "linux/arm64/v8"]`. Each is scanned; an image for another platform is an error.
      data: labels of files that the scanner needs, such as a policy or a database. It finds each at its
        `$(rootpath LABEL)` in its working directory.
      env: dict of variables of the scanner's environment. Values may hold `$(rootpath LABEL)` of what is in `data`, and
        `$$` for a dollar sign.
      report: the file name of a report that the scanner writes, such as `report.json`.
      expected_exit: the exit code of the scanner that makes the test a success.
      network: whether the scanner may use the network. By default it finds none, or does not start where that cannot be held.
      tags: as all tests have them. Each of these tests has the tag `oci-scan` as well: `bazel build //...` builds what tests need,
        which is to scan, and `--build_tag_filters=-oci-scan` leaves that out.
      **kwargs: attributes that all tests have, such as `args`, `size` and `visibility`.
    """
    scanned = None
    if layout and not scanner:
        scanned = name + ".layout"
        scanned_layout(
            name = scanned,
            testonly = True,
            base = base,
            layout = layout,
            platform = platform,
            platforms = platforms,
            tags = ["manual"],
            visibility = ["//visibility:private"],
        )
        layout, platform = None, ""
    elif base or platforms:
        fail("{}: base and platforms are for a layout that the scanner of the build scans".format(name))
    baseline = native.glob([baseline_name(name)], allow_empty = True)
    _oci_scan_test(
        name = name,
        baseline = baseline[0] if baseline else None,
        build_scanner = None if scanner else _BUILD_SCANNER,
        data = data,
        env = env,
        exceptions = exceptions,
        expected_exit = expected_exit,
        image = image,
        input = input,
        layout = layout,
        network = network,
        platform = platform,
        policy = policy,
        report = report,
        scanned = scanned,
        scanner = scanner,
        tags = tags + [_TAG],
        **kwargs
    )
