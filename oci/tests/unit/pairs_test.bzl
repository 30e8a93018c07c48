"""Tests of how dicts are written for the tool."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//oci/private/common:pairs.bzl", "pairs")

def _pairs_test_impl(ctx):
    env = unittest.begin(ctx)
    rule = struct(attr = struct(env = {"A": "x=y", "B": "2", "C": ""}, labels = {}), label = ctx.label)
    asserts.equals(env, ["A=x=y", "B=2", "C="], pairs(rule, "env"))
    asserts.equals(env, [], pairs(rule, "labels"))
    return unittest.end(env)

pairs_test = unittest.make(_pairs_test_impl)

def pairs_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name, with which the tests' names begin.
    """
    unittest.suite(name, pairs_test)
