"""Tests of what targets pass on of the blobs of pulled bases."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//oci/private/common:pulled_infos.bzl", "merge_pulled_infos", "pulled_info")
load("//oci/private/providers:pulled_image.bzl", "OCIPulledImageInfo")

def _pulled(image, *blobs):
    return OCIPulledImageInfo(
        blobs = depset(blobs),
        images = {image: depset(blobs), "other": depset(["of another"])},
        referrers = {image: depset(["signature"]), "other": depset(["of another"])},
        referrers_indexes = depset([image + ".index"]),
    )

def _one_image_test_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, [], pulled_info(ctx.label, None, "a"))
    asserts.equals(env, [], pulled_info(ctx.label, _pulled("a", "1"), None))
    (info,) = pulled_info(ctx.label, _pulled("a", "1", "2"), "a")
    asserts.equals(env, ["1", "2"], info.blobs.to_list())
    asserts.equals(env, ["a"], info.images.keys())
    asserts.equals(env, {}, info.referrers)
    asserts.equals(env, [], info.referrers_indexes.to_list())
    return unittest.end(env)

one_image_test = unittest.make(_one_image_test_impl)

def _referrers_test_impl(ctx):
    env = unittest.begin(ctx)
    (info,) = pulled_info(ctx.label, _pulled("a", "1"), "a", referrers = True)
    asserts.equals(env, ["a"], info.referrers.keys())
    asserts.equals(env, ["signature"], info.referrers["a"].to_list())
    asserts.equals(env, ["a.index"], info.referrers_indexes.to_list())
    return unittest.end(env)

referrers_test = unittest.make(_referrers_test_impl)

def _merge_test_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, [], merge_pulled_infos([{}]))
    (info,) = merge_pulled_infos([{OCIPulledImageInfo: _pulled(*words)} for words in [("a", "1", "2"), ("b", "2", "3")]] + [{}])
    asserts.equals(env, ["1", "2", "3"], sorted(info.blobs.to_list()))
    asserts.equals(env, ["a", "b", "other"], sorted(info.images))
    asserts.equals(env, ["a", "b", "other"], sorted(info.referrers))
    asserts.equals(env, ["a.index", "b.index"], sorted(info.referrers_indexes.to_list()))
    return unittest.end(env)

merge_test = unittest.make(_merge_test_impl)

def pulled_infos_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name, with which the tests' names begin.
    """
    unittest.suite(name, one_image_test, referrers_test, merge_test)
