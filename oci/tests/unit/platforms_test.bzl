"""Tests of platforms and how they match."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//oci/private/common:platforms.bzl", "check_platform", "platform_rank", "platform_to_string")
load("//oci/private/providers:image.bzl", "OCIPlatformInfo")

def _platform(text):
    parts = text.split("/")
    return OCIPlatformInfo(os = parts[0], architecture = parts[1], variant = (parts + [""])[2])

def _to_string_test_impl(ctx):
    env = unittest.begin(ctx)
    for text in ["linux/amd64", "linux/arm/v7"]:
        asserts.equals(env, text, platform_to_string(_platform(text)))
    return unittest.end(env)

to_string_test = unittest.make(_to_string_test_impl)

def _check_test_impl(ctx):
    env = unittest.begin(ctx)
    for text in ["linux/amd64", "linux/arm64/v8", "wasip1/wasm", "linux/x_1.2-y"]:
        asserts.equals(env, None, check_platform(text))
    for text in ["", "linux", "linux/", "/amd64", "linux//v8", "linux/arm64/v8/x", "Linux/amd64", "linux/amd 64", "linux/*"]:
        message = check_platform(text)
        asserts.true(env, message and message.startswith(repr(text) + " is not a platform: "), "{}: {}".format(text, message))
    return unittest.end(env)

check_test = unittest.make(_check_test_impl)

def _rank_test_impl(ctx):
    env = unittest.begin(ctx)
    for have, wanted, rank in [
        ("linux/amd64", "linux/amd64", 0),
        ("linux/amd64", "linux/arm64", None),
        ("windows/amd64", "linux/amd64", None),
        ("linux/amd64/v2", "linux/amd64", None),
        ("linux/arm64", "linux/arm64/v8", 0),
        ("linux/arm64/8", "linux/arm64", 0),
        ("linux/arm64/v9", "linux/arm64/v8", None),
        ("linux/arm", "linux/arm/v7", 0),
        ("linux/arm/6", "linux/arm/v6", 0),
        ("linux/arm/v6", "linux/arm/v7", 1),
        ("linux/arm/v5", "linux/arm", 2),
        ("linux/arm/v5", "linux/arm/v8", 3),
        ("linux/arm/v7", "linux/arm/v6", None),
        ("linux/arm/vx", "linux/arm/v7", None),
    ]:
        asserts.equals(env, rank, platform_rank(_platform(have), _platform(wanted)), "{} for {}".format(have, wanted))
    return unittest.end(env)

rank_test = unittest.make(_rank_test_impl)

def platforms_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name, with which the tests' names begin.
    """
    unittest.suite(name, to_string_test, check_test, rank_test)
