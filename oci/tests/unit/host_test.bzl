"""Tests of what is known of the host."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//oci/private/repositories:host.bzl", "host_cpu", "host_os", "tool_name")

def _repository_ctx(name, arch):
    return struct(os = struct(arch = arch, name = name))

def _host_test_impl(ctx):
    env = unittest.begin(ctx)
    for name, arch, os, cpu, tool in [
        ("linux", "amd64", "linux", "x86_64", "oci-pull-all"),
        ("linux", "aarch64", "linux", "aarch64", "oci-pull-all"),
        ("Mac OS X", "arm64", "macos", "aarch64", "oci-pull-all"),
        ("Windows Server 2022", "x64", "windows", "x86_64", "oci-pull-all.exe"),
        ("linux", "riscv64", "linux", "riscv64", "oci-pull-all"),
    ]:
        rctx = _repository_ctx(name, arch)
        asserts.equals(env, (os, cpu, tool), (host_os(rctx), host_cpu(rctx), tool_name(rctx)))
    return unittest.end(env)

host_test = unittest.make(_host_test_impl)

def host_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name, with which the tests' names begin.
    """
    unittest.suite(name, host_test)
