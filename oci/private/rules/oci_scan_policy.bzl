"""The rule for what passes a scan."""

load("//oci/private/common:image_input.bzl", "IMAGE_PROVIDERS")
load("//oci/private/providers:scan.bzl", "OCIScanPolicyInfo")

_SEVERITIES = ["negligible", "low", "medium", "high", "critical"]

_KINDS = ["license", "malware", "misconfiguration", "secret", "vulnerability"]

# What a scan may lack, as src/scan/trouble.rs names it (TroubleCode).
_TROUBLES = [
    "advisories-dropped",
    "database-too-old",
    "database-without-date",
    "empty-database",
    "files-unscanned",
    "files-unseen",
    "go-program-without-modules",
    "language-not-covered",
    "language-packages-unseen",
    "no-files",
    "no-java-database",
    "no-packages",
    "system-differs",
    "system-mistaken",
    "system-not-covered",
    "system-of-other-branch",
    "system-packages-gone",
    "system-packages-missing",
    "system-packages-unjudged",
    "system-packages-unseen",
    "system-without-packages",
    "unread-log",
    "version-not-compared",
]

def _oci_scan_policy_impl(ctx):
    unknown = [code for code in ctx.attr.allow if code not in _TROUBLES]
    if unknown:
        fail("{}: allow has {}, but there are {}".format(ctx.label, repr(unknown[0]), ", ".join(_TROUBLES)))
    unknown = [kind for kind in ctx.attr.kinds if kind not in _KINDS]
    if unknown or not ctx.attr.kinds:
        fail("{}: kinds has {}, but there are {}".format(ctx.label, repr(unknown[0]) if unknown else "nothing", ", ".join(_KINDS)))
    if ctx.attr.max_database_age < 1:
        fail("{}: max_database_age is {}, but it is a number of days".format(ctx.label, ctx.attr.max_database_age))
    arguments = [
        "--fail-on=" + ctx.attr.fail_on,
        "--unknown-as=" + ctx.attr.unknown_as,
        "--max-database-age={}".format(ctx.attr.max_database_age),
    ] + ["--fail-kind=" + kind for kind in ctx.attr.kinds]
    if ctx.attr.only_fixed:
        arguments.append("--only-fixed")
    if ctx.attr.offline:
        arguments.append("--offline")
    if ctx.attr.unused_exceptions_pass:
        arguments.append("--unused-exceptions-pass")
    return [OCIScanPolicyInfo(
        arguments = arguments + ["--allow=" + code for code in ctx.attr.allow],
        bases = [base.label for base in ctx.attr.bases],
        exceptions = ctx.files.exceptions,
        kinds = ctx.attr.kinds,
        label = ctx.label,
    )]

oci_scan_policy = rule(
    implementation = _oci_scan_policy_impl,
    doc = "What passes an `oci_scan_test`: for one, or for all by `--@oci_pull_all//oci:scan_policy`.",
    attrs = {
        "allow": attr.string_list(
            doc = "What a scan may lack without being worthless, by the words that its output has in brackets: " + ", ".join(["`{}`".format(code) for code in _TROUBLES]) + ".",
        ),
        "bases": attr.label_list(
            doc = """Bases that have tests of their own: `@NAME` of an `oci.pull`, or images. What such a base has does not fail the
images on it.""",
            providers = IMAGE_PROVIDERS,
        ),
        "exceptions": attr.label_list(doc = "Files with exceptions, in TOML, and documents of OpenVEX 0.2.0 (`.json`).", allow_files = [".json", ".toml"]),
        "fail_on": attr.string(doc = "The lowest severity that fails.", default = "high", values = _SEVERITIES),
        "kinds": attr.string_list(
            doc = """What fails: findings of the kinds `vulnerability`, `license`, `secret`, `misconfiguration` and `malware`. One that the
scanner does not look for is an error; of others that it finds, their number is printed.""",
            default = ["vulnerability"],
        ),
        "max_database_age": attr.int(
            doc = "How many days the database may have been built before the newest date of the image, its bases and the scanner's image.",
            default = 30,
        ),
        "offline": attr.bool(
            doc = "Whether a scan is trusted only if its scanner could not use the network. It is printed if it could.",
        ),
        "only_fixed": attr.bool(doc = "Whether what has no fixed version passes. It is counted."),
        "unknown_as": attr.string(doc = "The severity of what has none.", default = "high", values = _SEVERITIES),
        "unused_exceptions_pass": attr.bool(
            doc = "Whether exceptions that match nothing in what is scanned pass, because they are for other images. They are printed.",
        ),
    },
    provides = [OCIScanPolicyInfo],
)
