"""Tests of how an attribute with a transition is read."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//oci/private/common:transitions.bzl", "single")

def _single_test_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, "target", single(["target"]))
    asserts.equals(env, "target", single("target"))
    return unittest.end(env)

single_test = unittest.make(_single_test_impl)

def transitions_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name, with which the tests' names begin.
    """
    unittest.suite(name, single_test)
