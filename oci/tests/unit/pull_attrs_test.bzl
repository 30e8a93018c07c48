"""Tests of what is wrong with a pull."""

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//oci/private/repositories:pull_attrs.bzl", "check_digest", "check_name", "check_owner", "check_pull", "image_name")

_HEX = "0123456789abcdef" * 4

def _pull(image = "", registry = "", repository = "", digest = "sha256:" + _HEX, platforms = [], tag = ""):
    return struct(digest = digest, image = image, platforms = platforms, registry = registry, repository = repository, tag = tag)

def _name_test_impl(ctx):
    env = unittest.begin(ctx)
    for name in ["blobs", "files", "index.json", "oci-layout"]:
        asserts.true(env, "choose another" in (check_name(name) or ""), name)
    asserts.equals(env, None, check_name("debian"))
    for pull, name in [
        (_pull(image = "docker.io/library/debian"), "docker.io/library/debian"),
        (_pull(registry = "localhost:5000", repository = "debian"), "localhost:5000/debian"),
        (_pull(image = "a/b", registry = "a"), ""),
        (_pull(image = "a/b", repository = "b"), ""),
        (_pull(registry = "a"), ""),
        (_pull(repository = "b"), ""),
        (_pull(), ""),
    ]:
        asserts.equals(env, name, image_name(pull))
    return unittest.end(env)

name_test = unittest.make(_name_test_impl)

def _check_test_impl(ctx):
    env = unittest.begin(ctx)
    for good in [
        _pull(image = "localhost:5000/debian"),
        _pull(registry = "docker.io", repository = "library/debian", platforms = ["linux/amd64"]),
        _pull(image = "a/b", digest = "sha512:" + 2 * _HEX),
        _pull(image = "a/b", tag = "13.1-slim_x" + "x" * 117),
    ]:
        asserts.equals(env, None, check_pull(good) or check_digest(good))
    for bad, words in [
        (_pull(), "the image is not named clearly"),
        (_pull(image = "a/b:tag"), "\"a/b:tag\" has a tag or a digest"),
        (_pull(image = "a/b@sha256:" + _HEX), "has a tag or a digest"),
        (_pull(image = "a/b", digest = ""), "resolve a/b:TAG` prints"),
        (_pull(image = "a/b", digest = _HEX), "resolve a/b:TAG` prints"),
        (_pull(image = "a/b", digest = "stable"), "resolve a/b:stable` prints"),
        (_pull(image = "a/b", digest = "sha256:TODO", tag = "1.0"), "resolve a/b:1.0` prints"),
        (_pull(image = "a/b", tag = "-x"), "\"-x\" is not a tag"),
        (_pull(image = "a/b", tag = "x/y"), "is not a tag"),
        (_pull(image = "a/b", tag = "x" * 129), "is not a tag"),
        (_pull(image = "a/b", digest = "md5:" + _HEX), "is not a digest"),
        (_pull(image = "a/b", digest = "sha512:" + _HEX), "is not a digest"),
        (_pull(image = "a/b", digest = "sha256:" + _HEX.upper()), "lower-case"),
        (_pull(image = "a/b", platforms = ["linux/amd64", "linux"]), "\"linux\" is not a platform"),
    ]:
        message = check_pull(bad) or check_digest(bad)
        asserts.true(env, message and words in message, "{} not in {}".format(words, message))
    return unittest.end(env)

check_test = unittest.make(_check_test_impl)

def _owned(docker_config = None, mirrors = [], plain_http = False):
    return struct(docker_config = docker_config, mirrors = mirrors, plain_http = plain_http)

def _owner_test_impl(ctx):
    env = unittest.begin(ctx)
    plain = _owned(plain_http = True)
    login = _owned(docker_config = "@@//:config.json")
    clear = _owned(mirrors = ["mirror.example.com", "http://mirror.example.com"])
    neither = _owned(mirrors = ["mirror.example.com", "https://mirror.example.com"])
    for pull in [plain, login, clear, neither]:
        asserts.equals(env, None, check_owner(pull, True))
    asserts.equals(env, None, check_owner(neither, False))
    for pull, name in [(plain, "plain_http"), (login, "docker_config"), (clear, "a mirror")]:
        message = check_owner(pull, False)
        asserts.true(env, "only the root module may set " + name in message, message)
    return unittest.end(env)

owner_test = unittest.make(_owner_test_impl)

def pull_attrs_test_suite(name):
    """Declares the tests.

    Args:
      name: the suite's name, with which the tests' names begin.
    """
    unittest.suite(name, name_test, check_test, owner_test)
