"""The repository rule for the tool, the `oci-pull-all` program.

Repository rules run it before anything is built, so it cannot be a target of a build."""

load(":host.bzl", "host_cpu", "host_os", "tool_name")
load(":prebuilt.bzl", "PREBUILT")

_BUILD_TIMEOUT_SECONDS = 3600

_BUILD_FILE = """\
load("@oci_pull_all//oci/private/rules:oci_pull_all_toolchain.bzl", "oci_pull_all_toolchain")

package(default_visibility = ["//visibility:public"])

exports_files(["{executable}"])

alias(
    name = "tool",
    actual = "{executable}",
)

oci_pull_all_toolchain(
    name = "host_tool",
    tool = "{executable}",
)

toolchain(
    name = "host",
    exec_compatible_with = [
        "@platforms//os:{os}",
        "@platforms//cpu:{cpu}",
    ],
    toolchain = ":host_tool",
    toolchain_type = "@oci_pull_all//oci:toolchain_type",
)
"""

def _use_given(rctx, given):
    path = rctx.path(given) if given.startswith("/") or given[1:2] == ":" else None
    if path == None or not path.exists:
        fail("OCI_PULL_ALL_TOOL is {}, but it must be the absolute path of an existing oci-pull-all program. Correct it, or unset it to let Bazel get the program by itself.".format(repr(given)))
    rctx.watch(path)
    rctx.symlink(path, tool_name(rctx))

def _build(rctx):
    cargo = rctx.which("cargo")
    if cargo == None:
        fail("This version of oci_pull_all has no prebuilt program for {} {}, so it is built from source, but there is no cargo on PATH. Install Rust from https://rustup.rs, or set OCI_PULL_ALL_TOOL to the absolute path of an oci-pull-all program.".format(host_os(rctx), host_cpu(rctx)))
    manifest = rctx.path(Label("//:Cargo.toml"))
    source = manifest.dirname
    for name in ["Cargo.toml", "Cargo.lock"]:
        rctx.watch(source.get_child(name))
    rctx.watch_tree(source.get_child("src"))
    rctx.report_progress("building oci-pull-all with cargo")

    # Cargo and rustup take settings from the directories above the one that they run in, but for the root.
    outside = rctx.path(".")
    for _ in range(len(str(outside))):
        outside = outside.dirname or outside
    command = [
        cargo,
        "build",
        "--release",
        "--locked",
        "--package=oci-pull-all",
        "--manifest-path",
        manifest,
        "--target-dir",
        rctx.path("target"),
    ]
    host = _rust_host(rctx, cargo, outside)
    if rctx.os.environ.get("CARGO_BUILD_TARGET"):
        # The program runs here, whatever others are built for.
        command.append("--target=" + host)
    result = rctx.execute(
        command,
        # An empty one is there, so no other flags are looked for.
        environment = {"CARGO_ENCODED_RUSTFLAGS": ""},
        timeout = _BUILD_TIMEOUT_SECONDS,
        working_directory = str(outside),
        quiet = False,
    )
    if result.return_code != 0:
        fail("cargo could not build oci-pull-all from {}; its messages are above. A C compiler must be installed too. Or set OCI_PULL_ALL_TOOL to the absolute path of an oci-pull-all program.".format(source))
    name = tool_name(rctx)
    for directory in ["target/{}/release".format(host), "target/release"]:
        program = rctx.path(directory).get_child(name)
        if program.exists:
            rctx.symlink(program, name)
            return
    fail("cargo built oci-pull-all from {}, but not for this machine, {}: see what a config.toml in CARGO_HOME says of build.target. Or set OCI_PULL_ALL_TOOL to the absolute path of an oci-pull-all program.".format(source, host))

def _rust_host(rctx, cargo, directory):
    """What cargo builds for by itself, such as x86_64-unknown-linux-gnu."""
    result = rctx.execute([cargo, "-vV"], working_directory = str(directory))
    for line in result.stdout.split("\n"):
        if line.startswith("host: "):
            return line[len("host: "):].strip()
    fail("cargo -vV does not tell the host that it runs on: {}".format(result.stderr))

def _oci_pull_all_tool_impl(rctx):
    given = rctx.getenv("OCI_PULL_ALL_TOOL")
    prebuilt = PREBUILT.get((host_os(rctx), host_cpu(rctx)))
    if given:
        _use_given(rctx, given)
    elif prebuilt:
        rctx.download(
            url = prebuilt.urls,
            output = tool_name(rctx),
            sha256 = prebuilt.sha256,
            executable = True,
        )
    else:
        _build(rctx)
    rctx.file("BUILD.bazel", _BUILD_FILE.format(
        executable = tool_name(rctx),
        os = host_os(rctx),
        cpu = host_cpu(rctx),
    ))

oci_pull_all_tool = repository_rule(
    implementation = _oci_pull_all_tool_impl,
    doc = """Holds the tool, the `oci-pull-all` program, for the host: the one that `OCI_PULL_ALL_TOOL` names, or a
prebuilt one, or one that cargo builds from this module's sources.""",
)
