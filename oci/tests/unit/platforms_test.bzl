"""Tests of platforms and how they match."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//oci/private/common:platforms.bzl", "check_platform", "platform_rank", "platform_to_string")
load("//oci/private/providers:image.bzl", "OCIPlatformInfo")
load(":platform_cases.bzl", "PLATFORM_CASES")

def _platform(text):
    names, _, version = text.partition(":")
    parts = names.split("/")
    return OCIPlatformInfo(
        architecture = parts[1],
        os = parts[0],
        os_version = version,
        variant = (parts + [""])[2],
    )

def _to_string_test_impl(ctx):
    env = unittest.begin(ctx)
    for text in ["linux/amd64", "linux/arm/v7", "windows/amd64:10.0.17763.1"]:
        asserts.equals(env, text, platform_to_string(_platform(text)))
    return unittest.end(env)

to_string_test = unittest.make(_to_string_test_impl)

def _check_test_impl(ctx):
    env = unittest.begin(ctx)
    for text in ["linux/amd64", "linux/arm64/v8", "wasip1/wasm", "linux/x_1.2-y", "windows/amd64:10.0.17763", "darwin/arm64:macOS 14.1", "a/b:\"c\\:d/"]:
        asserts.equals(env, None, check_platform(text))
    for text in ["", "linux", "linux/", "/amd64", "linux//v8", "linux/arm64/v8/x", "Linux/amd64", "linux/amd 64", "linux/*", "linux/amd64:", "windows/amd64:10\n1"]:
        message = check_platform(text)
        asserts.true(env, message and message.startswith(repr(text) + " is not a platform: "), "{}: {}".format(text, message))
    return unittest.end(env)

check_test = unittest.make(_check_test_impl)

def _rank_test_impl(ctx):
    env = unittest.begin(ctx)
    for have, wanted, rank in PLATFORM_CASES:
        asserts.equals(env, rank, platform_rank(_platform(have), _platform(wanted)), "{} for {}".format(have, wanted))
    return unittest.end(env)

rank_test = unittest.make(_rank_test_impl)

def platforms_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name, with which the tests' names begin.
    """
    unittest.suite(name, to_string_test, check_test, rank_test)
