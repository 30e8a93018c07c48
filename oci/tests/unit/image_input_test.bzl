"""Tests of how a rule takes an image or an image index."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//oci/private/common:image_input.bzl", "image_input")
load("//oci/private/providers:image.bzl", "OCIImageIndexInfo", "OCIImageInfo")

def _image(name, layers):
    return OCIImageInfo(
        config = name + ".config",
        descriptor = name + ".descriptor",
        layers = depset(layers, order = "preorder"),
        manifest = name + ".manifest",
        platform = None,
        pulled_digest = None,
        pulled_from = None,
    )

def _image_test_impl(ctx):
    env = unittest.begin(ctx)
    image = _image("a", ["upper", "lower"])
    found = image_input({OCIImageInfo: image})
    asserts.equals(env, image, found.root)
    asserts.equals(env, [image], found.images)
    asserts.equals(env, None, found.index)
    asserts.equals(env, ["a.manifest", "a.config"], found.documents)
    asserts.equals(env, ["upper", "lower"], found.layers.to_list())
    return unittest.end(env)

image_test = unittest.make(_image_test_impl)

def _index_test_impl(ctx):
    env = unittest.begin(ctx)
    images = [_image("a", ["of a", "of both"]), _image("b", ["of b", "of both"])]
    index = OCIImageIndexInfo(descriptor = "descriptor", images = images, index = "index", pulled_from = None)
    found = image_input({OCIImageIndexInfo: index})
    asserts.equals(env, index, found.root)
    asserts.equals(env, images, found.images)
    asserts.equals(env, index, found.index)
    asserts.equals(env, ["index", "a.manifest", "a.config", "b.manifest", "b.config"], found.documents)
    asserts.equals(env, ["of a", "of both", "of b"], found.layers.to_list())
    return unittest.end(env)

index_test = unittest.make(_index_test_impl)

def _neither_test_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, None, image_input({}))
    return unittest.end(env)

neither_test = unittest.make(_neither_test_impl)

def image_input_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name, with which the tests' names begin.
    """
    unittest.suite(name, image_test, index_test, neither_test)
